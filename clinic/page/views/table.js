/** A table that becomes one block for each row on a narrow screen, so that no line is cut. */

import { h } from "../core/dom.js";

/**
 * @param {string} caption
 * @param {string[]} columns names; of the first one, each row has its heading
 * @param {{cells: (Node|string)[], class: string|null}[]} rows
 */
export function table(caption, columns, rows) {
  // The roles are stated since a table that is laid out as blocks would lose them.
  const head = h("tr", { role: "row" }, ...columns.map((name) => h("th", { role: "columnheader", scope: "col" }, name)));
  const lines = rows.map(({ cells: [first, ...rest], class: classes }) =>
    h(
      "tr",
      { role: "row", class: classes },
      h("th", { role: "rowheader", scope: "row" }, first),
      ...rest.map((cell, index) => h("td", { role: "cell" }, h("span", { class: "cell-name", "aria-hidden": "true" }, columns[index + 1]), h("div", {}, cell))),
    ),
  );
  return h(
    "table",
    { role: "table" },
    h("caption", { class: "visually-hidden" }, caption),
    h("thead", { role: "rowgroup" }, head),
    h("tbody", { role: "rowgroup" }, ...lines),
  );
}
