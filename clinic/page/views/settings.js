/** What a person chooses for this device, the backup, and what runs. */

import { api } from "../core/api.js";
import { button, field, h, icon, own, segments, select } from "../core/dom.js";
import { preference, setPreference } from "../core/preferences.js";
import { problem } from "../core/problems.js";
import { mayAdminister, session } from "../core/session.js";
import { t, texts } from "../core/texts.js";
import { table } from "./table.js";

export async function settings({ refresh }) {
  const title = t("page.settings.title");
  const element = h(
    "div",
    { class: "view settings" },
    h("header", { class: "view-head" }, h("h1", {}, title)),
    device(refresh),
    mayAdminister() && backup(),
    about(),
    mayAdminister() && audit(),
  );
  return { element, title };
}

const AUDIT_PAGE = 100; // lines that the server sends at once

/** The choice of a language, each written in its own script. */
export function languageField(label, refresh) {
  const { languages } = session();
  const options = languages.map(({ code, name }) => [code, name]);
  const control = select(options, texts().language, (code) => {
    setPreference("language", code);
    refresh();
  });
  return field(label, control);
}

/** The sentence that a translation has not been checked; nothing where it has. */
export function reviewNote() {
  const { is_reviewed: isReviewed } = session().languages.find(({ code }) => code === texts().language) ?? {};
  return isReviewed ? null : h("p", { class: "caution" }, icon("warning"), h("span", {}, t("page.not_reviewed")));
}

function device(refresh) {
  const choice = (name, values, text) => segments(text, name, values, preference(name), (value) => setPreference(name, value));
  const themes = ["system", "light", "dark"].map((name) => [name, t(`page.settings.theme_${name}`)]);
  const papers = ["a4", "letter"].map((name) => [name, t(`page.settings.paper_${name}`)]);
  const readers = ["operator", "patient"].map((name) => [name, t(`page.finding.reader_${name}`)]);
  return h(
    "section",
    { class: "card", "aria-label": t("page.settings.title") },
    languageField(t("page.settings.language"), refresh),
    reviewNote(),
    choice("theme", themes, t("page.settings.theme")),
    choice("paper", papers, t("page.settings.paper")),
    choice("reader", readers, t("page.settings.reader")),
    h("p", { class: "quiet" }, t("page.settings.here")),
  );
}

function backup() {
  const result = h("div", { role: "status" });
  const run = async () => {
    start.disabled = true;
    result.replaceChildren(h("p", {}, t("page.settings.backup_running")));
    try {
      const { file } = await api.backup();
      const done = h("p", { class: "done" }, icon("yes"), h("span", {}, t("page.settings.backup_done", { file })));
      result.replaceChildren(done, h("p", {}, t("page.settings.backup_where")));
    } catch (error) {
      result.replaceChildren(h("p", { class: "problem" }, icon("warning"), h("span", {}, problem(error))));
    }
    start.disabled = false;
  };
  const start = button(t("page.settings.backup_now"), "save", run, { class: "button primary" });
  return h("section", { class: "card" }, h("h2", {}, t("page.settings.backup")), h("p", {}, t("page.settings.backup_explain")), start, result);
}

function about() {
  const { bundle, labels, notice, user, role } = session();
  const name = bundle && t("page.finding.network_version", { name: bundle.name, version: bundle.version });
  const entries = [
    [t("page.settings.network"), name && [name, h("p", { class: "quiet", lang: "en" }, own(notice))]],
    [t("page.settings.hash"), bundle && own(bundle.sha256)],
    [t("page.settings.labels"), labels.map((label) => texts().label(label)).join(", ")],
  ].filter(([, text]) => text);
  const lines = entries.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]);
  return h(
    "section",
    { class: "card" },
    h("h2", {}, t("page.settings.about")),
    user && h("p", {}, t("page.settings.signed_in", { user, role: t(`page.role.${role}`) })),
    h("dl", { class: "facts" }, ...lines),
    h("p", { class: "notice" }, icon("warning"), h("span", {}, t("notice.operator"))),
  );
}

function audit() {
  const place = h("div", {});
  const rows = [];
  const columns = ["time", "user", "action", "finding"].map((name) => t(`page.settings.audit_${name}`));
  const more = button(t("page.settings.audit_show"), "history", () => load(), { class: "button" });
  let last = "";
  async function load() {
    try {
      const { entries } = await api.audit(last, AUDIT_PAGE);
      rows.push(...entries.map(auditCells));
      last = entries.at(-1)?.number ?? last;
      place.replaceChildren(rows.length ? table(t("page.settings.audit"), columns, rows) : h("p", {}, t("page.settings.audit_none")));
      more.hidden = entries.length < AUDIT_PAGE;
      more.querySelector("span").textContent = t("page.more");
    } catch (error) {
      place.replaceChildren(h("p", { class: "problem", role: "alert" }, icon("warning"), h("span", {}, problem(error))));
    }
  }
  return h("section", { class: "card" }, h("h2", {}, t("page.settings.audit")), place, more);
}

function auditCells({ time, user, action, finding }) {
  const id = `page.audit.${action.replaceAll(" ", "_")}`;
  const link = finding ? h("a", { href: `#/radiograph/${finding}` }, String(finding)) : "";
  return { cells: [texts().dateTime(time), own(user), texts().has(id) ? t(id) : action, link] };
}
