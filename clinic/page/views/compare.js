/** Two radiographs next to each other, and the course of label, probability and extent. */

import { api } from "../core/api.js";
import { h, icon, select } from "../core/dom.js";
import { session } from "../core/session.js";
import { t, texts } from "../core/texts.js";
import { courseChart, extentChart } from "./chart.js";
import { extentText, isComparable } from "./extent.js";
import { alertMarks, decisionMark, labelMarks, patientName } from "./marks.js";
import { loadPicture, stage } from "./stage.js";
import { table } from "./table.js";

const DAY = 86400; // seconds

export async function compare({ parts, navigate }) {
  const pair = await Promise.all(parts.map(Number).map(load));
  pair.sort((one, other) => taken(one.details) - taken(other.details));
  const numbers = pair.map(({ details }) => details.number);
  const [first, second] = pair.map(({ details }) => details);
  const scenes = pair.map(({ details, loading }) => stage(details, loading));
  const others = answeredOf(first);
  const course = isSamePatient(first, second) ? await courseOf(second) : [];
  const title = t("page.compare.title");
  const sides = pair.map(({ details }, index) => side(details, scenes[index], index, others, numbers, navigate));
  const element = h(
    "div",
    { class: "view compare" },
    h("header", { class: "view-head" }, h("h1", {}, title), h("p", {}, patientName(second)), h("p", { class: "counts" }, interval(first, second))),
    ...cautions(first, second),
    h("div", { class: "pair" }, ...sides),
    changeSection(first, second),
    course.length > 1 && courseSection(course, numbers),
  );
  return {
    element,
    title,
    opened: () => scenes.forEach((scene) => scene.opened()),
    close: () => scenes.forEach((scene) => scene.close()),
  };
}

async function load(number) {
  const loading = loadPicture(number);
  return { details: await api.finding(number, texts().language), loading };
}

/** When the radiograph was made, in seconds; when it came in, where the file has no date. */
function taken({ study_date: date, study, time }) {
  const text = date || study?.date;
  if (!text) return time;
  const [, year, month, day] = text.match(/^(\d{4})-?(\d{2})-?(\d{2})/) ?? [];
  return year ? Date.UTC(year, month - 1, day) / 1000 : time;
}

/** All radiographs of the patient that have an answer, oldest first. */
function answeredOf({ earlier }) {
  const answered = earlier.filter(({ decision }) => decision === "report" || decision === "refer");
  return answered.map((entry) => ({ ...entry, taken: taken(entry) })).sort((one, other) => one.taken - other.taken);
}

/** The answers on the same body part and side, oldest first. */
async function courseOf({ number }) {
  const { entries } = await api.course(number);
  return entries.map((entry) => ({ ...entry, taken: taken(entry) })).sort((one, other) => one.taken - other.taken);
}

/** Whether two radiographs are of one patient, as the server takes them: an id may be given again. */
function isSamePatient({ patient: first }, { patient: second }) {
  const isBornOnSameDay = !first.birth_date || !second.birth_date || first.birth_date === second.birth_date;
  return Boolean(first.id) && first.id === second.id && isBornOnSameDay;
}

function interval(first, second) {
  return t("page.compare.interval", { n: Math.round(Math.abs(taken(second) - taken(first)) / DAY) });
}

function cautions(first, second) {
  const ids = [];
  if (!first.patient.id || !second.patient.id) ids.push("page.compare.no_patient");
  else if (!isSamePatient(first, second)) ids.push("page.compare.other_patient");
  if (partOf(first) !== partOf(second)) ids.push("page.compare.other_part");
  return ids.map((id) => h("p", { class: "caution" }, icon("warning"), h("span", {}, t(id))));
}

const partOf = ({ region, body_part: code, laterality }) => [region || code, laterality].join();

/** What differs between the two answers, in words; nothing where one of them has none. */
function changeSection(first, second) {
  if (!first.label || !second.label) return null;
  const [before, after] = [first, second].map(({ label }) => texts().label(label));
  const answer = before === after ? t("page.compare.answer_same", { label: before }) : t("page.compare.answer_changed", { before, after });
  const pair = (text, read) => t(text, { before: read(first), after: read(second) });
  const sentences = [answer, pair("page.compare.probability_change", ({ probability }) => texts().percent(probability))];
  if (first.extent && second.extent) {
    sentences.push(pair("page.compare.extent_change", ({ extent }) => extentText(extent)));
    if (!isComparable(first.extent, second.extent)) sentences.push(t("page.compare.extent_unlike"));
    sentences.push(...extentNotes([first, second]));
  }
  return h("section", { class: "card change", "aria-label": t("page.compare.title") }, ...sentences.map((sentence) => h("p", {}, sentence)));
}

/** What the kinds of extent mean that occur. */
function extentNotes(entries) {
  const extents = entries.map(({ extent }) => extent).filter(Boolean);
  return [
    extents.some(({ kind }) => kind === "map") && t("page.compare.extent_map_note"),
    extents.some(({ diameter_mm: size }) => size !== null) && t("page.compare.extent_size_note"),
  ].filter(Boolean);
}

function side(details, scene, index, others, numbers, navigate) {
  const isChoice = others.some(({ number }) => number === details.number) && others.length > 1;
  const part = texts().part(details);
  const date = texts().date(details.study.date || details.time);
  const name = t(index ? "page.compare.after" : "page.compare.before");
  return h(
    "section",
    { class: "side", "aria-label": name },
    h("header", { class: "side-head" }, h("h2", {}, name), part && h("p", {}, part), isChoice ? chooser(details, index, others, numbers, navigate) : h("p", {}, date)),
    scene.element,
    h("div", { class: "side-foot" }, decisionMark(details.decision), ...labelMarks(details), h("a", { class: "button", href: `#/radiograph/${details.number}` }, t("page.compare.open"))),
  );
}

function chooser(details, index, others, numbers, navigate) {
  const part = (entry) => partOf(entry) !== partOf(details) && texts().part(entry);
  const options = others.map((entry) => [String(entry.number), [texts().date(entry.study_date || entry.time), part(entry)].filter(Boolean).join(" · ")]);
  const control = select(options, String(details.number), (number) => {
    const chosen = [...numbers];
    chosen[index] = number;
    navigate(`/compare/${chosen.join("/")}`);
  });
  control.setAttribute("aria-label", t(index ? "page.compare.pick_right" : "page.compare.pick_left"));
  return control;
}

function courseSection(course, numbers) {
  const { labels } = session();
  const columns = [t("page.compare.date"), t("page.list.decision"), t("page.compare.extent"), ...labels.map((label) => texts().label(label))];
  const rows = course.map((entry) => ({
    class: numbers.includes(entry.number) ? "is-shown" : null,
    cells: [
      h("a", { href: `#/radiograph/${entry.number}` }, texts().date(entry.study_date || entry.time)),
      h("span", { class: "course-answer" }, decisionMark(entry.decision), ...alertMarks(entry)),
      h("span", {}, extentText(entry.extent)),
      ...labels.map((label) => h(label === entry.label ? "strong" : "span", {}, texts().percent(entry.probabilities[label] ?? 0))),
    ],
  }));
  return h(
    "section",
    { class: "card course" },
    h("h2", {}, t("page.compare.course")),
    courseChart(course, labels),
    extentChart(course),
    table(t("page.compare.table"), columns, rows),
    ...extentNotes(course).map((note) => h("p", { class: "quiet" }, note)),
    h("p", { class: "quiet" }, t("page.compare.caution")),
  );
}
