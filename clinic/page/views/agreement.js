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
  const hasOpinions = figures.agreement.of > 0;
  const head = h("header", { class: "view-head" }, h("h1", {}, title), hasOpinions && exportLink());
  const body = hasOpinions ? content(figures) : [h("p", { class: "empty" }, t("page.agreement.none"))];
  if (figures.weeks.length) body.push(byWeek(figures.weeks, hasOpinions));
  return { element: h("div", { class: "view agreement" }, head, h("p", { class: "quiet" }, t("page.agreement.explain")), ...body), title };
}

function exportLink() {
  return h("a", { class: "button", href: api.opinionsAddress(), download: "opinions.csv" }, icon("save"), h("span", {}, t("page.agreement.export")));
}

function content({ agreement: value, without_reference: open, labels, alert }) {
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
  ].filter(Boolean);
}

/** What a drift shows first, also without any opinion. */
function byWeek(weeks, hasOpinions) {
  const meaning = h("p", { class: "quiet" }, t("page.agreement.score_meaning"));
  return section(t("page.agreement.by_week"), [hasOpinions && weekChart(weeks), weekTable(weeks), meaning]);
}

function labelTable(labels, alert) {
  const named = [...labels.map((line) => [texts().label(line.label), line]), [t("page.agreement.alert"), alert]];
  const rows = named.map(([name, { sensitivity, specificity }]) => ({ cells: [name, interval(sensitivity), interval(specificity)] }));
  return table(t("page.agreement.by_label"), names("label", "sensitivity", "specificity"), rows);
}

function weekTable(weeks) {
  const share = (part) => (part.share === null ? "" : texts().share(part.share));
  const rows = weeks.map(({ monday, findings, referred, rejected, out_of_distribution: score, agreement: agreed }) => ({
    cells: [texts().date(monday), texts().number(findings), share(referred), share(rejected), score === null ? "" : texts().number(score, 2), interval(agreed)],
  }));
  const [week, count, refer, distance, agreed] = names("week", "findings", "referred", "score", "agreement");
  return table(t("page.agreement.by_week"), [week, count, refer, t("decision.reject"), distance, agreed], rows.reverse());
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
