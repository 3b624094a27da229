/** What the file says, and what ran. */

import { button, h, own } from "../core/dom.js";
import { mayAdminister } from "../core/session.js";
import { t, texts } from "../core/texts.js";

const TRANSLATED = new Set(["origin", "network", "engine", "size", "body_part"]); // sentences of the catalogue
const SEXES = { M: "sex_m", F: "sex_f", O: "sex_o" };

/**
 * @param {Object} details answer of `GET findings/{n}`
 * @param {() => void} remove deletes the radiograph
 */
export function facts(details, remove) {
  const { patient, study, finding } = details;
  const { provenance } = finding;
  const sex = SEXES[patient.sex];
  const entries = [
    ["patient_name", patient.name],
    ["patient_id", patient.id],
    ["birth_date", patient.birth_date && texts().date(patient.birth_date)],
    ["sex", sex && t(`page.finding.${sex}`)],
    ["study_date", study.date && texts().date(study.date)],
    ["body_part", texts().part(details)],
    ["view", study.view],
    ["accession", study.accession],
    ["description", study.description],
    ["institution", study.institution],
    ["file", details.file_name],
    ["origin", `${texts().dateTime(details.time)}, ${t(`page.origin.${details.origin}`)}`],
    ["size", t("page.finding.pixels", { width: details.width, height: details.height })],
    ["notes", finding.notes.join("; ")],
    ["network", t("page.finding.network_version", { name: provenance.bundle, version: provenance.bundle_version })],
    ["hash", provenance.bundle_sha256],
    ["engine", t("page.finding.engine_version", { name: provenance.engine, version: provenance.engine_version, precision: provenance.precision })],
  ];
  const lines = entries.filter(([, text]) => text).flatMap(([name, text]) => [h("dt", {}, t(`page.finding.${name}`)), h("dd", {}, TRANSLATED.has(name) ? text : own(text))]);
  const bin = mayAdminister() && button(t("page.finding.delete"), "bin", remove, { class: "button danger" });
  return h("details", { class: "card" }, h("summary", {}, h("h2", {}, t("page.finding.details"))), h("dl", { class: "facts" }, ...lines), bin);
}
