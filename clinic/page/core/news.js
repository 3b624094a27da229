/** What the server tells without being asked: findings that arrived, and the state of the network. */

import { api } from "./api.js";

const KINDS = ["finding", "progress", "engine"];
const RETRY = 3000; // milliseconds until a server is asked again that refused to tell
const PAGE = 20; // findings that are asked for at once

/**
 * Sends each of these on as an event with the same name and the message in `detail`.
 *
 * A finding that came while the server could not be reached is sent once it can be.
 */
export class News extends EventTarget {
  open() {
    if (this.source) return;
    this.sent ??= new Set(); // numbers of findings
    this.last ??= null; // of them, once it is known
    this.source = api.events();
    for (const kind of KINDS) {
      this.source.addEventListener(kind, ({ data }) => this.#send(kind, JSON.parse(data)));
    }
    this.#catchUp(); // what comes before the stream is open is missed too
    this.source.addEventListener("open", () => this.#catchUp());
    this.source.addEventListener("error", () => {
      // The browser connects again by itself, but not after an answer that is no stream.
      if (this.source?.readyState === EventSource.CLOSED) this.#later(() => this.#openAgain());
    });
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    this.sent = null;
    this.last = null;
  }

  #send(kind, detail) {
    if (kind === "finding") {
      if (this.sent.has(detail.number)) return;
      this.sent.add(detail.number);
    }
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  #later(action) {
    clearTimeout(this.timer);
    if (this.source) this.timer = setTimeout(action, RETRY);
  }

  async #openAgain() {
    try {
      await api.findings({ limit: 1 }); // a session that has ended is told to the page
    } catch {
      return this.#later(() => this.#openAgain());
    }
    if (!this.source) return;
    this.source = null;
    this.open();
  }

  /** Send the findings that came since the last time; the first time only notes which is the last. */
  async #catchUp() {
    const last = this.last ?? Infinity;
    const missed = [];
    try {
      for (let before = ""; before !== null; ) {
        const { findings, more } = await api.findings({ limit: this.last === null ? 1 : PAGE, before });
        missed.push(...findings.filter(({ number }) => number > last));
        before = more && findings.at(-1).number > last ? findings.at(-1).number : null;
        this.last = Math.max(this.last ?? 0, findings[0]?.number ?? 0);
      }
    } catch {
      this.last = Number.isFinite(last) ? last : null;
      return this.#later(() => this.#catchUp());
    }
    if (this.source) for (const summary of missed.reverse()) this.#send("finding", summary);
  }
}
