/** All radiographs: search, and the choice of two for a comparison. */

import { api } from "../core/api.js";
import { button, field, h, select } from "../core/dom.js";
import { t, texts } from "../core/texts.js";
import { patientText } from "./marks.js";
import { row } from "./rows.js";
import { dayBefore } from "./today.js";

const PAGE = 50; // lines that are loaded at once
const DECISIONS = ["report", "refer", "reject"];
const KINDS = ["alert", "failure"]; // of which the server knows as if they were decisions
const WHENS = ["all", "today", "yesterday", "week", "dates"];
const NAMES = ["text", "from", "to", "decision", "region"];

export async function history({ query, navigate }) {
  const asked = Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
  const list = h("ul", { class: "rows rows-choice" });
  const found = h("p", { class: "counts", role: "status" });
  const more = button(t("page.more"), null, () => load(), { class: "button more", hidden: true });
  const chosen = new Map(); // number: summary
  const tray = h("div", { class: "tray", role: "status" });
  let oldest = "";
  let count = 0;

  async function load() {
    const answer = await api.findings({ ...asked, limit: PAGE, before: oldest });
    for (const summary of answer.findings) list.append(row(summary, { withDate: true, chooser: chooser(summary) }));
    oldest = answer.findings.at(-1)?.number ?? oldest;
    count += answer.findings.length;
    more.hidden = !answer.more;
    found.textContent = count ? t("page.history.found", { n: count }) : t("page.history.none");
  }

  function chooser(summary) {
    if (summary.failure) return h("span", { class: "row-choice" });
    const name = patientText(summary) || summary.file_name;
    const label = t("page.history.select", { name, date: texts().date(summary.time) });
    const change = (event) => {
      if (event.target.checked) chosen.set(summary.number, summary);
      else chosen.delete(summary.number);
      showTray();
    };
    return h("label", { class: "row-choice" }, h("input", { type: "checkbox", "aria-label": label, on: { change } }));
  }

  function showTray() {
    const pair = [...chosen.values()].sort((first, second) => first.time - second.time).map(({ number }) => number);
    const go = button(t("page.history.compare"), "compare", () => navigate(`/compare/${pair[0]}/${pair[1]}`), { class: "button primary", disabled: pair.length !== 2 });
    const words = h("span", {}, t("page.history.chosen", { n: pair.length }), " ", pair.length === 2 ? "" : t("page.history.compare_hint"));
    tray.replaceChildren(...(pair.length ? [words, go] : []));
    tray.hidden = !pair.length;
  }

  showTray();
  await load();
  const title = t("page.history.title");
  const head = h("header", { class: "view-head" }, h("h1", {}, title), found);
  const element = h("div", { class: "view history" }, head, form(asked, navigate), list, more, tray);
  return { element, title };
}

/** The form; a search is an address, so that the way back leads to it. */
function form(asked, navigate) {
  const text = h("input", { type: "search", value: asked.text, autocomplete: "off", enterkeyhint: "search" });
  const from = h("input", { type: "date", value: asked.from });
  const to = h("input", { type: "date", value: asked.to });
  const dates = h("div", { class: "dates" }, field(t("page.history.from"), from), field(t("page.history.to"), to));
  const search = () => navigate(address({ text: text.value.trim(), from: from.value, to: to.value, decision: decision.value, region: part.value }));
  const decisions = [["", t("page.history.any")], ...DECISIONS.map((name) => [name, t(`decision.${name}`)]), ...KINDS.map((name) => [name, t(`page.history.${name}`)])];
  const decision = select(decisions, asked.decision, search);
  const part = select([["", t("page.history.any")], ...texts().regions()], asked.region, search);
  const chosen = whenOf(asked);
  dates.hidden = chosen !== "dates";
  const when = select(WHENS.map((name) => [name, t(`page.history.${name}`)]), chosen, (name) => {
    dates.hidden = name !== "dates";
    if (name === "dates") return from.focus();
    [from.value, to.value] = datesOf(name);
    return search();
  });
  const submit = (event) => {
    event.preventDefault();
    search();
  };
  const isAsked = NAMES.some((name) => asked[name]);
  return h(
    "form",
    { class: "search", role: "search", on: { submit } },
    field(t("page.history.text"), text, { class: "field field-wide" }),
    field(t("page.history.when"), when),
    field(t("page.history.body_part"), part),
    field(t("page.history.decision"), decision),
    dates,
    h("div", { class: "search-actions" }, button(t("page.history.search"), "search", null, { type: "submit", class: "button primary" }), isAsked && h("a", { class: "button", href: "#/history" }, t("page.history.clear"))),
  );
}

function datesOf(when) {
  if (when === "today") return [dayBefore(), dayBefore()];
  if (when === "yesterday") return [dayBefore(1), dayBefore(1)];
  if (when === "week") return [dayBefore(6), dayBefore()];
  return ["", ""];
}

function whenOf({ from, to }) {
  const same = (name) => datesOf(name).join() === [from, to].join();
  return WHENS.find((name) => name !== "dates" && same(name)) ?? "dates";
}

function address(values) {
  const used = Object.entries(values).filter(([, value]) => value);
  return used.length ? `/history?${new URLSearchParams(used)}` : "/history";
}
