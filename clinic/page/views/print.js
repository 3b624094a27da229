/** The printed page, in any language of the catalogue, and the way to the PDF. */

import { api } from "../core/api.js";
import { button, field, h, icon, own, select, toast } from "../core/dom.js";
import { preference, setPreference } from "../core/preferences.js";
import { problem } from "../core/problems.js";
import { session } from "../core/session.js";
import { readTexts, t, texts } from "../core/texts.js";
import { Painter } from "../viewer/painter.js";
import { bars, isLeftOpen, urgency } from "./marks.js";
import { sentences } from "./radiograph.js";

const LONG_SIDE = 1400; // pixels of a printed picture, which is at most 50 mm high: 700 to the inch
const EARLIER = 4; // radiographs that a sheet lists
const LINE_ZOOM = 4; // lines are drawn as much wider than on the screen, on which pixels are larger

/** Ask for language and paper, then print or open the PDF. */
export function openPrint(details, viewer) {
  let language = texts().language;
  const wrong = h("p", { class: "form-problem", role: "alert" });
  const words = h("input", { type: "checkbox", id: "print-words" });
  const patient = h("input", { type: "checkbox", id: "print-patient", checked: true, on: { change: () => update() } });
  const link = h("a", { class: "button", target: "_blank", rel: "noopener" }, icon("files"), h("span", {}, t("page.print.pdf")));
  const update = () => link.setAttribute("href", api.reportAddress(details.number, language, preference("paper"), patient.checked));
  const { can_report: canReport } = session();
  const pdf = canReport ? link : h("p", { class: "quiet" }, t("error.no_report"));
  const languages = session().languages.map(({ code, name }) => [code, name]);
  const papers = ["a4", "letter"].map((name) => [name, t(`page.settings.paper_${name}`)]);
  const changeLanguage = (code) => {
    language = code;
    update();
  };
  const changePaper = (name) => {
    setPreference("paper", name);
    update();
  };
  const print = button(t("page.print.print"), "print", async () => {
    try {
      const parts = [readTexts(language), api.finding(details.number, language), viewer?.picture.whole()];
      const [chosen, translated] = await Promise.all(parts);
      await api.notePrint(details.number);
      fillSheet(translated, viewer, chosen, { withPatient: patient.checked, withWords: words.checked });
    } catch (error) {
      wrong.textContent = problem(error);
      return;
    }
    dialog.close();
    window.print();
  }, { class: "button primary" });
  const title = h("h2", { id: "print-title" }, t("page.print.title"));
  const dialog = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "print-title", on: { close: () => dialog.remove() } },
    h("div", { class: "dialog-head" }, title, button(t("page.close"), "no", () => dialog.close(), { class: "button" })),
    field(t("page.print.language"), select(languages, language, changeLanguage)),
    field(t("page.print.paper"), select(papers, preference("paper"), changePaper)),
    h("p", { class: "tick" }, patient, h("label", { for: "print-patient" }, t("page.print.with_patient"))),
    h("p", { class: "tick" }, words, h("label", { for: "print-words" }, t("page.print.patient_words"))),
    wrong,
    h("div", { class: "dialog-actions" }, print, pdf),
  );
  update();
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * Make the sheet for a print that the browser's own menu begins, and take it away after any print.
 *
 * Such a print waits for nothing: its pictures are as fine as the screen has needed them by then.
 *
 * @returns {() => void} ends that
 */
export function watchPrint(details, viewer) {
  const sheet = document.getElementById("sheet");
  const before = () => {
    if (sheet.children.length) return;
    fillSheet(details, viewer, texts(), { withPatient: true, withWords: false });
    api.notePrint(details.number).catch((error) => toast(problem(error), "bad"));
  };
  const after = () => sheet.replaceChildren();
  window.addEventListener("beforeprint", before);
  window.addEventListener("afterprint", after);
  return () => {
    after();
    window.removeEventListener("beforeprint", before);
    window.removeEventListener("afterprint", after);
  };
}

/**
 * Make the page that is printed.
 *
 * @param {Object} details answer of `GET findings/{n}` in the language of the page
 * @param {Viewer|null} viewer its window is the one that is printed
 * @param {Texts} language
 * @param {{withPatient: boolean, withWords: boolean}} options name the patient; add the words for the patient
 */
function fillSheet(details, viewer, language, { withPatient, withWords }) {
  const translate = (id, values) => language.text(id, values);
  const sheet = document.getElementById("sheet");
  sheet.lang = language.language;
  sheet.dir = language.direction;
  sheet.className = `sheet sheet-${preference("paper")}`;
  const { finding, patient, study } = details;
  const isRejected = finding.decision === "reject";
  const head = [
    ["patient_name", withPatient ? patient.name : "____________"],
    ["patient_id", withPatient && patient.id],
    ["birth_date", withPatient && patient.birth_date && language.date(patient.birth_date)],
    ["study_date", withPatient && study.date && language.date(study.date)],
    ["body_part", language.part(details)],
    ["accession", withPatient && study.accession],
    ["institution", withPatient && study.institution],
  ].filter(([, text]) => text);
  const facts = head.map(([name, text]) => h("div", {}, h("dt", {}, translate(`page.finding.${name}`)), h("dd", {}, own(text))));
  const { provenance } = finding;
  const network = translate("page.finding.network_version", { name: provenance.bundle, version: provenance.bundle_version });
  sheet.replaceChildren(
    h("header", { class: "sheet-head" }, h("h1", {}, translate("page.print.heading")), h("div", { class: "sheet-marks" }, ...marks(details, translate))),
    h("dl", { class: "sheet-facts" }, ...facts),
    h("div", { class: "sheet-pictures" }, ...pictures(viewer, isRejected, translate)),
    h(
      "div",
      { class: "sheet-columns" },
      h("section", {}, ...sentences({ ...details.words.operator, notice: "" }, translate)),
      h("section", {}, isRejected ? null : h("h2", {}, translate("page.finding.probabilities")), isRejected ? null : bars(finding.probabilities, finding.label_set, language), withPatient && earlierSection(details, language, translate)),
    ),
    withWords ? h("section", { class: "sheet-patient" }, h("h2", {}, translate("page.print.for_patient")), ...sentences({ ...details.words.patient, notice: "" }, translate)) : "",
    h("section", { class: "sheet-physician" }, h("h2", {}, translate("page.print.physician")), h("div", { class: "lines" }), h("p", {}, translate("page.print.signature"))),
    h(
      "footer",
      { class: "sheet-foot" },
      h("p", { class: "notice" }, icon("warning"), h("span", {}, details.words.operator.notice)),
      session().languages.find(({ code }) => code === language.language)?.is_reviewed ? "" : h("p", {}, translate("page.not_reviewed")),
      h("p", {}, own(`${network} · ${provenance.bundle_sha256}`), " · ", translate("page.print.printed", { date: language.dateTime(Date.now() / 1000) })),
    ),
  );
}

/** The radiographs of the patient before this one, and their findings; nothing without any. */
function earlierSection({ earlier, number }, language, translate) {
  const place = earlier.findIndex((entry) => entry.number === number);
  const before = earlier.slice(0, place).filter(({ failure }) => !failure);
  if (!before.length) return null;
  const lines = before.slice(-EARLIER).map((entry) => {
    const isRejected = entry.decision === "reject";
    const answer = isRejected ? "" : `${language.label(entry.label)} ${language.percent(entry.probability)}`;
    const when = language.date(entry.study_date || entry.time);
    return h("li", {}, own([when, language.part(entry), answer].filter(Boolean).join(" · ")), " ", ...marks(entry, translate));
  });
  const more = before.length - lines.length;
  return h("div", { class: "sheet-earlier" }, h("h2", {}, translate("report.earlier")), h("ul", {}, ...lines), more ? h("p", {}, translate("report.earlier_more", { n: more })) : "");
}

/** Decision, and the alarm where there is one, by shape and word. */
function marks(summary, translate) {
  const mark = (symbol, id) => h("span", { class: "sheet-decision" }, icon(symbol), h("span", {}, translate(id)));
  const decision = mark(summary.decision, `decision.${summary.decision}`);
  if (urgency(summary) === "malignant") return [mark("malignant", "page.finding.malignant"), decision];
  return isLeftOpen(summary) ? [mark("malignant_possible", "page.finding.malignant_possible"), decision] : [decision];
}

function pictures(viewer, isRejected, translate) {
  if (!viewer) return [];
  const plain = h("figure", {}, drawn(viewer, false), h("figcaption", {}, translate("page.print.plain")));
  if (isRejected || (viewer.heat.isEmpty && !viewer.facts.outlines)) return [plain];
  const caption = h("figcaption", {}, h("strong", {}, translate("page.print.with_map")), " ", translate("page.viewer.map_meaning"), viewer.facts.outlines ? ` ${translate("page.viewer.outline_meaning")}` : "");
  return [plain, h("figure", {}, drawn(viewer, true), caption)];
}

/** The whole radiograph in the window of the viewer, as a canvas of its own. */
function drawn(viewer, withMap) {
  const { picture } = viewer;
  const scale = LONG_SIDE / Math.max(picture.width, picture.height);
  const [across, down] = [Math.round(picture.width * scale), Math.round(picture.height * scale)];
  const isTurned = viewer.rotation % 2 === 1;
  const canvas = h("canvas", { width: isTurned ? down : across, height: isTurned ? across : down });
  const transform = new DOMMatrix()
    .translate(canvas.width / 2, canvas.height / 2)
    .rotate(viewer.rotation * 90)
    .scale(scale)
    .translate(-picture.width / 2, -picture.height / 2);
  const view = { window: viewer.window, isInverted: viewer.isInverted, opacity: withMap ? 1 : 0, hasLine: withMap, hasOutline: withMap, scale, lineZoom: LINE_ZOOM, transform };
  new Painter(picture, withMap ? viewer.heat : null, viewer.facts).paint(canvas, view);
  return canvas;
}
