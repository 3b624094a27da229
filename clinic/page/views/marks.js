/** Shape and word of a finding, and its probabilities as bars. */

import { h, icon, own } from "../core/dom.js";
import { isAlert } from "../core/session.js";
import { t, texts } from "../core/texts.js";

/** How much a finding asks for attention: `malignant`, `refer`, `reject`, `report` or `unread`. */
export function urgency({ decision, label, failure }) {
  if (failure) return "unread";
  if (decision !== "reject" && isAlert(label)) return "malignant";
  return decision;
}

/** Symbol and words of the decision. */
export function decisionMark(decision) {
  return h("span", { class: `mark mark-${decision}` }, icon(decision), h("span", {}, t(`decision.${decision}`)));
}

/** Symbol and words of the most probable label, with its probability; nothing for a rejected picture. */
function labelMark(summary) {
  if (summary.decision === "reject") return h("span", { class: "label-mark" }, t("page.finding.rejected"));
  const isMalignant = urgency(summary) === "malignant";
  const name = isMalignant ? t("page.finding.malignant") : texts().label(summary.label);
  const percent = h("span", { class: "percent" }, texts().percent(summary.probability));
  const classes = isMalignant ? "label-mark mark mark-malignant" : "label-mark";
  return h("span", { class: classes }, isMalignant && icon("malignant"), h("span", {}, name), " ", percent);
}

/** Whether an alert label is left open though another one is more probable. */
export function isLeftOpen(summary) {
  return summary.alert && ["report", "refer"].includes(urgency(summary));
}

/** The label, and what cannot be ruled out next to it. */
export function labelMarks(summary) {
  return [labelMark(summary), isLeftOpen(summary) && possibleMark()].filter(Boolean);
}

/** Of these what says that a malignant tumor is suspected, or cannot be ruled out. */
export function alertMarks(summary) {
  return labelMarks(summary).slice(urgency(summary) === "malignant" ? 0 : 1);
}

/** What a list calls a finding first: a label, or what cannot be ruled out, and the decision. */
export function findingText(summary) {
  if (summary.decision === "reject") return t("decision.reject");
  const isMalignant = urgency(summary) === "malignant";
  const possible = summary.alert ? t("page.finding.malignant_possible") : texts().label(summary.label);
  return [isMalignant ? t("page.finding.malignant") : possible, t(`decision.${summary.decision}`)].join(" – ");
}

/** What says so, for `isLeftOpen`. */
function possibleMark() {
  return h("span", { class: "mark mark-malignant-possible" }, icon("malignant_possible"), h("span", {}, t("page.finding.malignant_possible")));
}

/** What the physician said. */
export function opinionMark(opinion) {
  if (!opinion) return null;
  const symbol = opinion === "agree" ? "yes" : "no";
  return h("span", { class: `opinion-mark opinion-${opinion}` }, icon(symbol), h("span", {}, t(`page.opinion.${opinion}`)));
}

/** Probabilities as words and bars, the largest first. */
export function bars(probabilities, labelSet, texts_ = texts()) {
  const ranked = Object.entries(probabilities).sort(([, first], [, second]) => second - first);
  const lines = ranked.map(([label, probability], index) => {
    const fill = h("span", { class: "bar-fill" });
    fill.style.inlineSize = `${Math.max(probability * 100, 0.5)}%`;
    const classes = ["bar", isAlert(label) && "bar-alert", index === 0 && "bar-first", !labelSet.includes(label) && "bar-out"];
    return h(
      "li",
      { class: classes.filter(Boolean).join(" ") },
      h("span", { class: "bar-label" }, isAlert(label) && icon("malignant_possible"), texts_.label(label)),
      h("span", { class: "bar-value" }, texts_.percent(probability)),
      h("span", { class: "bar-track", "aria-hidden": "true" }, fill),
    );
  });
  return h("ul", { class: "bars" }, ...lines);
}

/** What the file calls the patient: a name, else an identifier; empty without either. */
export function patientText(summary) {
  const name = (summary.patient_name ?? "").replaceAll("^", " ").trim();
  return name || (summary.patient_id ?? "").trim();
}

/** Name or identifier of the patient, or that the file has none. */
export function patientName(summary) {
  const name = patientText(summary);
  if (name) return own(name);
  return h("span", { class: "no-name" }, t("page.list.no_name"));
}
