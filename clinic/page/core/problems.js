/** What is said when a request fails. */

import { texts } from "./texts.js";

/** The sentence for an error: from the catalogue where it is there, else the server's own. */
export function problem(error) {
  if (error.id && texts().has(error.id)) return texts().text(error.id);
  return texts().text("page.error.unknown", { reason: error.message });
}
