/** What is said when a request fails. */

import { texts } from "./texts.js";

const BY_STATUS = { 0: "page.offline", 403: "page.error.forbidden", 413: "page.error.too_large", 429: "page.error.wait" };

/** The sentence for an error: from the catalogue where it is there, else the server's own. */
export function problem(error) {
  const id = [error.id, BY_STATUS[error.status]].find((name) => name && texts().has(name));
  if (id) return texts().text(id);
  return texts().text("page.error.unknown", { reason: error.message });
}
