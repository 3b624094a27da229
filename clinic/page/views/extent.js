/** How far a finding reaches, in words: that of an outlined lesion, or of the map, which is none. */

import { t, texts } from "../core/texts.js";

const ROUND = 0.1; // share from which no decimal is shown

/** @param {Object|null} extent of a finding, as the server measures it */
export function extentText(extent) {
  if (!extent) return "–";
  const { kind, share, diameter_mm: size } = extent;
  if (size !== null) return t("page.viewer.length", { length: texts().number(size, size >= 10 ? 0 : 1) });
  if (kind === "outline" && !share) return t("page.compare.extent_nothing");
  return t(kind === "outline" ? "page.compare.extent_outlined" : "page.compare.extent_map", { share: texts().share(share, share >= ROUND ? 0 : 1) });
}

/** Whether two extents were measured in the same way. */
export function isComparable(first, second) {
  const way = ({ kind, diameter_mm: size, plane }) => [kind, size === null, plane].join();
  return way(first) === way(second);
}
