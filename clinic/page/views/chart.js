/** Small charts without a library: probabilities and extent over time, and agreement by week. */

import { h, svg } from "../core/dom.js";
import { isAlert } from "../core/session.js";
import { t, texts } from "../core/texts.js";
import { isComparable } from "./extent.js";

const [WIDTH, HEIGHT] = [640, 220];
const EDGE = { left: 44, right: 16, top: 12, bottom: 28 };
const SHAPES = ["disc", "square", "triangle", "cross", "ring", "diamond"];

const across = (share) => EDGE.left + share * (WIDTH - EDGE.left - EDGE.right);
const down = (share) => EDGE.top + (1 - share) * (HEIGHT - EDGE.top - EDGE.bottom);

/** A line with a shape of its own for each label, so that they differ without colour. */
export function courseChart(course, labels) {
  const place = placesOf(course);
  const lines = labels.map((label, number) => {
    const points = course.map((entry) => [across(place(entry)), down(entry.probabilities[label] ?? 0)]);
    const shapes = points.map(([x, y]) => marker(markerOf(label, number), x, y));
    return svg("g", { class: `line line-${number % SHAPES.length}` }, svg("path", { d: path(points), class: "line-path" }), ...shapes);
  });
  const key = labels.map((label, number) =>
    h("li", {}, svg("svg", { viewBox: "-8 -8 16 16", class: `key line-${number % SHAPES.length}`, "aria-hidden": "true" }, marker(markerOf(label, number), 0, 0)), h("span", {}, texts().label(label))),
  );
  return h("div", { class: "chart" }, frame(t("page.compare.chart"), [...lines, ...datesOf(course)]), h("ul", { class: "chart-key" }, ...key));
}

/** How far each finding reaches; nothing where two of them were measured in different ways. */
export function extentChart(course) {
  const known = course.filter(({ extent }) => extent);
  if (known.length < 2 || !known.every(({ extent }) => isComparable(extent, known[0].extent))) return null;
  const isLength = known[0].extent.diameter_mm !== null;
  const value = ({ extent }) => (isLength ? extent.diameter_mm : extent.share * 100);
  const largest = Math.max(...known.map(value));
  if (!largest) return null;
  const top = roundAbove(largest);
  const digits = Number.isInteger(top / 4) ? 0 : 1;
  const place = placesOf(course);
  const points = known.map((entry) => [across(place(entry)), down(value(entry) / top)]);
  const line = svg("g", { class: "line line-0" }, svg("path", { d: path(points), class: "line-path" }), ...points.map(([x, y]) => marker("square", x, y)));
  const tick = (share) => (isLength ? t("page.viewer.length", { length: texts().number(share * top, digits) }) : texts().share((share * top) / 100, digits));
  return h("div", { class: "chart" }, h("h3", {}, t("page.compare.extent")), frame(t("page.compare.extent_chart"), [line, ...datesOf(course)], tick));
}

/** The end of an axis in four equal steps, above a value. */
function roundAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1.2, 2, 4, 6, 8, 12].find((step) => step * power >= value) * power;
}

/** Where an entry of a course stands between its first and its last date, 0 to 1. */
function placesOf(course) {
  const [from, to] = [course[0].taken, course.at(-1).taken];
  return (entry) => (to > from ? (entry.taken - from) / (to - from) : course.indexOf(entry) / Math.max(1, course.length - 1));
}

const datesOf = (course) => [course[0], course.at(-1)].map((entry, index) => axisText(across(index), texts().date(entry.study_date || entry.time), index ? "end" : "start"));

const markerOf = (label, number) => (isAlert(label) ? "diamond" : SHAPES[number % (SHAPES.length - 1)]);

/** Agreement of each week with its interval. */
export function weekChart(weeks) {
  const known = weeks.filter(({ agreement }) => agreement.share !== null);
  const place = (index) => across((index + 0.5) / known.length);
  const bars = known.map(({ agreement: { share, low, high } }, index) =>
    svg("g", { class: "line line-0" }, svg("path", { class: "interval", d: path([[place(index), down(low)], [place(index), down(high)]]) }), marker("disc", place(index), down(share))),
  );
  const ends = known.length > 1 ? [0, known.length - 1] : [0];
  const dates = ends.map((index) => axisText(place(index), texts().date(known[index].monday), index ? "end" : "start"));
  return h("div", { class: "chart" }, frame(t("page.agreement.chart"), [...bars, ...dates]));
}

function frame(label, content, tick = (share) => texts().share(share)) {
  const lines = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
    svg("path", { class: "grid", d: path([[EDGE.left, down(share)], [WIDTH - EDGE.right, down(share)]]) }),
    svg("text", { x: EDGE.left - 6, y: down(share) + 4, class: "axis", "text-anchor": "end" }, tick(share)),
  ]);
  // Time runs from left to right in every script, as on the sheets of a clinic.
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart-drawing", role: "img", "aria-label": label, direction: "ltr" }, ...lines, ...content);
}

const axisText = (x, text, anchor) => svg("text", { x, y: HEIGHT - 8, class: "axis", "text-anchor": anchor }, text);

const path = (points) => points.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function marker(shape, x, y) {
  const d = {
    square: `M${x - 5} ${y - 5}h10v10h-10z`,
    triangle: `M${x} ${y - 6}l6 11h-12z`,
    diamond: `M${x} ${y - 7.5}l7.5 7.5-7.5 7.500-7.500-7.500z`,
    cross: `M${x - 5} ${y - 5}l10 10M${x + 5} ${y - 5}l-10 10`,
  }[shape];
  if (d) return svg("path", { d, class: `dot dot-${shape}` });
  return svg("circle", { cx: x, cy: y, r: 5, class: `dot dot-${shape}` });
}
