/** How often physicians agreed with the network, on the clinic's own radiographs. */

import { api } from "../core/api.js";
import { h, icon } from "../core/dom.js";
import { t, texts } from "../core/texts.js";
import { weekChart } from "./chart.js";

const FEW = 30; // opinions; below that an interval is wider than a third

export async function agreement() {
  const figures = await api.agreement();
  const title = t("page.agreement.title");
  const head = h("header", { class: "view-head" }, h("h1", {}, title), figures.cases > 0 && exportLink());
  const body = figures.cases > 0 ? content(figures) : [h("p", { class: "empty" }, t("page.agreement.none"))];
  return { element: h("div", { class: "view agreement" }, head, h("p", { class: "quiet" }, t("page.agreement.explain")), ...body), title };
}

function exportLink() {
  return h("a", { class: "button", href: api.opinionsAddress(), download: "opinions.csv" }, icon("save"), h("span", {}, t("page.agreement.export")));
}

function content({ cases, agreement: value, labels, weeks }) {
  const few = cases < FEW && h("p", { class: "caution" }, icon("warning"), h("span", {}, t("page.agreement.few")));
  return [
    h(
      "section",
      { class: "card big" },
      h("h2", {}, t("page.agreement.agreement")),
      value && h("p", { class: "figure" }, texts().share(value.value)),
      value && h("p", {}, range(value)),
      h("p", { class: "quiet" }, t("page.agreement.cases", { n: cases })),
    ),
    few,
    section(t("page.agreement.by_label"), [
      table(
        t("page.agreement.by_label"),
        ["label", "count", "sensitivity", "specificity"],
        labels.map(({ label, cases: count, sensitivity, specificity }) => [texts().label(label), texts().number(count), interval(sensitivity), interval(specificity)]),
      ),
      h("p", { class: "quiet" }, t("page.agreement.sensitivity_meaning")),
      h("p", { class: "quiet" }, t("page.agreement.specificity_meaning")),
    ]),
    weeks.length > 0 &&
      section(t("page.agreement.by_week"), [
        weekChart(weeks),
        table(
          t("page.agreement.by_week"),
          ["week", "count", "agreement"],
          weeks.map(({ start, cases: count, agreement: share }) => [texts().date(start), texts().number(count), interval(share)]),
        ),
      ]),
  ].filter(Boolean);
}

const section = (title, parts) => h("section", { class: "card" }, h("h2", {}, title), ...parts);

/** A share with its interval under it. */
function interval(value) {
  if (!value) return h("span", { class: "quiet" }, t("page.agreement.unknown"));
  return h("span", { class: "interval-words" }, h("strong", {}, texts().share(value.value)), h("span", { class: "quiet" }, range(value)));
}

const range = ({ low, high }) => t("page.agreement.interval", { low: texts().share(low), high: texts().share(high) });

/** A table that may be wider than the screen and is then moved on its own. */
function table(caption, columns, lines) {
  const head = columns.map((name) => h("th", { scope: "col" }, t(`page.agreement.${name}`)));
  const body = lines.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, first), ...rest.map((text) => h("td", {}, text))));
  const element = h("table", {}, h("caption", { class: "visually-hidden" }, caption), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, element);
}
