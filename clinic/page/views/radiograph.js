/** One radiograph: the picture, the finding in words, the opinion, and other radiographs of the patient. */

import { api } from "../core/api.js";
import { button, h, icon, own, segments, toast } from "../core/dom.js";
import { preference, setPreference } from "../core/preferences.js";
import { problem } from "../core/problems.js";
import { t, texts } from "../core/texts.js";
import { bars, decisionMark, labelMarks, patientName, urgency } from "./marks.js";
import { opinion } from "./opinion.js";
import { openPrint, watchPrint } from "./print.js";
import { loadPicture, stage } from "./stage.js";
import { facts } from "./facts.js";
import { failureWords } from "./rows.js";
import { reviewNote } from "./settings.js";

export async function radiograph({ parts, navigate, refresh }) {
  const number = Number(parts[0]);
  const loading = loadPicture(number);
  const details = await api.finding(number, texts().language);
  if (details.failure) return failed(details);
  const scene = stage(details, loading);
  const part = texts().part(details);
  const date = details.study.date ? texts().date(details.study.date) : texts().dateTime(details.time);
  const title = t("page.finding.title", { number });
  const judgement = opinion(details, () => refresh());
  const head = h(
    "header",
    { class: "view-head radiograph-head" },
    backLink(),
    h("h1", {}, patientName(details), ...[part, date].filter(Boolean).map((text) => h("span", { class: "head-part" }, text))),
    button(t("page.opinion.title"), "yes", () => showOpinion(judgement), { class: "button" }),
    compareLink(details),
    button(t("page.finding.print"), "print", () => openPrint(details, scene.viewer), { class: "button" }),
  );
  const panel = h("div", { class: "panel", tabindex: "-1" });
  panel.append(verdict(details), words(details), probabilities(details), judgement, others(details), facts(details, () => remove(number, navigate)));
  const element = h("div", { class: `view radiograph radiograph-${urgency(details)}` }, head, scene.element, panel);
  let unwatch = () => {};
  const opened = async () => {
    scene.viewer = await scene.opened();
    if (scene.viewer) unwatch = watchPrint(details, scene.viewer);
  };
  const close = () => {
    unwatch();
    scene.close();
  };
  return { element, title, close, opened };
}

function backLink() {
  return h("a", { href: "#/today", class: "button back", "aria-label": t("page.back"), on: { click: goBack } }, icon("back"));
}

function goBack(event) {
  if (window.history.length < 2) return;
  event.preventDefault();
  window.history.back();
}

function compareLink(details) {
  const same = othersOf(details).filter((entry) => entry.body_part === details.body_part);
  const nearest = same.at(-1) ?? othersOf(details).at(-1);
  if (!nearest) return null;
  const href = `#/compare/${nearest.number}/${details.number}`;
  return h("a", { href, class: "button" }, icon("compare"), h("span", {}, t("page.finding.compare")));
}

/** Bring the opinion into view: it stands below all that the network says. */
function showOpinion(section) {
  section.scrollIntoView();
  section.querySelector("input, summary")?.focus({ preventScroll: true });
}

/** Decision and label, by shape and word. */
function verdict(details) {
  const kind = urgency(details);
  return h(
    "div",
    { class: `verdict verdict-${kind}` },
    kind === "malignant" && h("p", { class: "verdict-alarm" }, icon("malignant"), h("strong", {}, t("page.finding.malignant")), h("span", { class: "percent" }, texts().percent(details.probability))),
    h("p", { class: "verdict-decision" }, decisionMark(details.decision)),
    ...(kind === "malignant" ? [] : labelMarks(details)).map((mark, index) => h("p", { class: index ? null : "verdict-label" }, mark)),
  );
}

/** The finding in words, for one of two readers. */
function words(details) {
  const place = h("div", { class: "words", "aria-live": "polite" });
  const readers = ["operator", "patient"].map((name) => [name, t(`page.finding.reader_${name}`)]);
  const show = (reader) => {
    setPreference("reader", reader);
    place.replaceChildren(...sentences(details.words[reader]));
  };
  const chooser = segments(t("page.finding.reader"), "reader", readers, preference("reader"), show);
  show(preference("reader"));
  return h("section", { class: "card", "aria-label": t("page.finding.seen") }, chooser, place, reviewNote());
}

/** @param {Object} finding in words; empty sentences are left out */
export function sentences(finding, translate = t) {
  const line = (id, text, classes = "") => text && h("div", { class: `sentence ${classes}` }, h("h3", {}, translate(id)), h("p", {}, text));
  const list = (id, items) => items.length > 0 && h("div", { class: "sentence" }, h("h3", {}, translate(id)), h("ul", {}, ...items.map((item) => h("li", {}, item))));
  return [
    h("h2", { class: "headline" }, finding.headline),
    line("page.finding.next", finding.next, "next"),
    line("page.finding.seen", finding.seen),
    line("page.finding.how_sure", finding.sure),
    line("page.finding.where", finding.where),
    line("page.finding.cannot_rule_out", finding.cannot_rule_out),
    list("page.finding.reasons", finding.reasons),
    finding.notice && h("p", { class: "notice" }, icon("warning"), h("span", {}, finding.notice)),
  ].filter(Boolean);
}

function probabilities({ finding }) {
  if (finding.decision === "reject") return null;
  const others = finding.label_set.slice(1);
  return h(
    "section",
    { class: "card" },
    h("h2", {}, t("page.finding.probabilities")),
    bars(finding.probabilities, finding.label_set),
    others.length === 0 && h("p", { class: "quiet" }, t("page.finding.nothing_else")),
  );
}

/** Other radiographs of the patient that can be shown, oldest first. */
const othersOf = ({ earlier, number }) => earlier.filter((entry) => entry.number !== number && !entry.failure);

function others(details) {
  const list = othersOf(details).reverse().map((other) =>
    h(
      "li",
      { class: "other" },
      h("a", { href: `#/radiograph/${other.number}` }, other.study_date ? texts().date(other.study_date) : texts().dateTime(other.time)),
      h("span", {}, texts().part(other)),
      ...labelMarks(other),
      h(
        "a",
        { class: "button", href: `#/compare/${other.number}/${details.number}`, "aria-label": t("page.finding.compare_with", { date: texts().date(other.study_date || other.time) }) },
        icon("compare"),
        h("span", {}, t("page.finding.compare")),
      ),
    ),
  );
  const body = list.length ? h("ul", { class: "others" }, ...list) : h("p", { class: "quiet" }, t("page.finding.no_earlier"));
  return h("section", { class: "card" }, h("h2", {}, t("page.finding.earlier")), body);
}

function failed(details) {
  const element = h(
    "div",
    { class: "view" },
    h("header", { class: "view-head" }, backLink(), h("h1", {}, own(details.file_name))),
    h("div", { class: "problem" }, icon("unread"), h("p", {}, ...failureWords(details))),
  );
  return { element, title: t("page.list.failure") };
}

async function remove(number, navigate) {
  if (!window.confirm(t("page.finding.delete_question"))) return;
  try {
    await api.remove(number);
    toast(t("page.finding.deleted"));
    navigate("/today");
  } catch (error) {
    toast(problem(error), "bad");
  }
}
