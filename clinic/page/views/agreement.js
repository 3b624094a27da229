/** How often physicians agreed with the network, on the clinic's own radiographs. */

import { api } from "../core/api.js";
import { h, icon } from "../core/dom.js";
import { t, texts } from "../core/texts.js";
import { weekChart } from "./chart.js";
import { table } from "./table.js";

const FEW = 30; // opinions; with fewer an interval is wider than a third

export async function agreement() {
  const figures = await api.agreement();
  const title = t("page.agreement.title");
  const head = h("header", { class: "view-head" }, h("h1", {}, title), figures.agreement.of > 0 && exportLink());
  const body = figures.agreement.of > 0 ? content(figures) : [h("p", { class: "empty" }, t("page.agreement.none"))];
  return { element: h("div", { class: "view agreement" }, head, h("p", { class: "quiet" }, t("page.agreement.explain")), ...body), title };
}

function exportLink() {
  return h("a", { class: "button", href: api.opinionsAddress(), download: "opinions.csv" }, icon("save"), h("span", {}, t("page.agreement.export")));
}

function content({ agreement: value, without_reference: open, labels, alert, weeks }) {
  const few = value.of < FEW && h("p", { class: "caution" }, icon("warning"), h("span", {}, t("page.agreement.few")));
  return [
    h(
      "section",
      { class: "card big" },
      h("h2", {}, t("page.agreement.agreement")),
      h("p", { class: "figure" }, texts().share(value.share)),
      h("p", {}, range(value)),
      h("p", { class: "quiet" }, t("page.agreement.cases", { n: value.of })),
      open > 0 && h("p", { class: "quiet" }, t("page.agreement.open", { n: open })),
    ),
    few,
    section(t("page.agreement.by_label"), [
      labelTable(labels, alert),
      h("p", { class: "quiet" }, t("page.agreement.sensitivity_meaning")),
      h("p", { class: "quiet" }, t("page.agreement.specificity_meaning")),
    ]),
    section(t("page.agreement.by_week"), [weekChart(weeks), weekTable(weeks)]),
  ].filter(Boolean);
}

function labelTable(labels, alert) {
  const named = [...labels.map((line) => [texts().label(line.label), line]), [t("page.agreement.alert"), alert]];
  const rows = named.map(([name, { sensitivity, specificity }]) => ({ cells: [name, interval(sensitivity), interval(specificity)] }));
  return table(t("page.agreement.by_label"), names("label", "sensitivity", "specificity"), rows);
}

function weekTable(weeks) {
  const rows = weeks.map(({ monday, findings, referred, agreement: share }) => ({
    cells: [texts().date(monday), texts().number(findings), referred.share === null ? "" : texts().share(referred.share), interval(share)],
  }));
  return table(t("page.agreement.by_week"), names("week", "findings", "referred", "agreement"), rows.reverse());
}

const names = (...ids) => ids.map((id) => t(`page.agreement.${id}`));

const section = (title, parts) => h("section", { class: "card" }, h("h2", {}, title), ...parts);

/** A share with its interval under it. */
function interval(value) {
  if (value.share === null) return h("span", { class: "quiet" }, t("page.agreement.unknown"));
  const count = t("page.agreement.of", { count: value.count, of: value.of });
  return h("span", { class: "interval-words" }, h("strong", {}, texts().share(value.share)), h("span", {}, count), h("span", { class: "quiet" }, range(value)));
}

const range = ({ low, high }) => t("page.agreement.interval", { low: texts().share(low), high: texts().share(high) });
