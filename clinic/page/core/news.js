/** What the server tells without being asked: findings that arrived, and the state of the network. */

import { api } from "./api.js";

const KINDS = ["finding", "progress", "engine"];

/** Sends each of these on as an event with the same name and the message in `detail`. */
export class News extends EventTarget {
  open() {
    if (this.source) return;
    this.source = api.events();
    for (const kind of KINDS) {
      this.source.addEventListener(kind, ({ data }) => {
        this.dispatchEvent(new CustomEvent(kind, { detail: JSON.parse(data) }));
      });
    }
  }

  close() {
    this.source?.close();
    this.source = null;
  }
}
