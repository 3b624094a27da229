/** One line of a list for each radiograph. */

import { h, icon, own } from "../core/dom.js";
import { t, texts } from "../core/texts.js";
import { decisionMark, labelMarks, opinionMark, patientName, urgency } from "./marks.js";

/**
 * @param {Object} summary of a finding
 * @param {{withDate: boolean, chooser: Node|null}} options a date before the time; a box to tick
 */
export function row(summary, { withDate = false, chooser = null } = {}) {
  const kind = urgency(summary);
  const attributes = { class: `row row-${kind}`, "data-number": summary.number ?? "" };
  const content = summary.failure ? failureLine(summary, withDate) : findingLine(summary, withDate, kind);
  return h("li", attributes, chooser, content);
}

function findingLine(summary, withDate, kind) {
  const part = texts().part(summary);
  return h(
    "a",
    { class: "row-link", href: `#/radiograph/${summary.number}` },
    h("span", { class: `sign sign-${kind}` }, icon(kind)),
    h("span", { class: "row-who" }, h("strong", {}, patientName(summary)), when(summary, withDate, part)),
    h("span", { class: "row-finding" }, ...labelMarks(summary)),
    h("span", { class: "row-decision" }, decisionMark(summary.decision), opinionMark(summary.opinion)),
  );
}

function when(summary, withDate, part) {
  const clock = withDate ? texts().dateTime(summary.time) : texts().time(summary.time);
  return h(
    "span",
    { class: "row-when" },
    origin(summary.origin),
    h("time", { datetime: new Date(summary.time * 1000).toISOString() }, clock),
    h("span", {}, part || own(summary.file_name)),
  );
}

function origin(name) {
  if (name === "page") return null;
  const text = t(`page.origin.${name}`);
  return h("span", { class: "origin", title: text }, icon("node"), h("span", { class: "visually-hidden" }, text));
}

/** Why a file could not be read, in the language of the page, and the technical line in English. */
export function failureWords({ failure, failure_id: id }) {
  const line = h("span", { class: "technical", lang: "en", title: t("page.list.technical") }, own(failure));
  return id ? [h("span", {}, t(id)), " ", line] : [line];
}

function failureLine(summary, withDate) {
  return h(
    "div",
    { class: "row-link row-bad" },
    h("span", { class: "sign sign-unread" }, icon("unread")),
    h(
      "span",
      { class: "row-who" },
      h("strong", {}, own(summary.file_name)),
      when({ ...summary, file_name: "" }, withDate, t("page.list.failure")),
    ),
    h("span", { class: "row-reason" }, ...failureWords(summary)),
  );
}
