/** The page's frame: navigation, the view that the address names, and news from the server. */

import { announce, button, h, icon, loadIcons, toast } from "./core/dom.js";
import { api } from "./core/api.js";
import { preference } from "./core/preferences.js";
import { problem } from "./core/problems.js";
import { isSignedIn, loadSession, session, signOut } from "./core/session.js";
import { t, useLanguage } from "./core/texts.js";
import { droppedFiles, uploads } from "./core/uploads.js";
import { IdleLock } from "./core/idle.js";
import { News } from "./core/news.js";
import { colours } from "./viewer/heat.js";
import { agreement } from "./views/agreement.js";
import { compare } from "./views/compare.js";
import { history } from "./views/history.js";
import { login } from "./views/login.js";
import { findingText, isLeftOpen, patientText, urgency } from "./views/marks.js";
import { radiograph } from "./views/radiograph.js";
import { loadPicture } from "./views/stage.js";
import { settings } from "./views/settings.js";
import { today } from "./views/today.js";

const VIEWS = { today, radiograph, history, compare, agreement, settings };
const TABS = ["today", "history", "agreement", "settings"];

const main = document.getElementById("main");
const rail = document.getElementById("rail");
const news = new News();
const idle = new IdleLock(() => leaveSession({ isLocked: true }), () => api.findings({ limit: 1 }).catch(() => {}));
let shown = { close: null };
let turn = 0; // of the latest change of view; an earlier one that is still loading gives way

/** Parts of an address such as `#/compare/4/7?language=fr`. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...parts] = (path || "today").split("/");
  return { name, parts, query: new URLSearchParams(query) };
}

function navigate(path) {
  if (location.hash === `#${path}`) show();
  else location.hash = path;
}

async function show({ isFirst = false } = {}) {
  const mine = ++turn;
  const { name, parts, query } = place();
  const view = isSignedIn() ? (VIEWS[name] ?? today) : login;
  const context = { parts, query, navigate, events: news, refresh: restart };
  document.body.dataset.view = isSignedIn() ? name : "login";
  main.setAttribute("aria-busy", "true");
  let next;
  try {
    next = await view(context);
  } catch (error) {
    if (error.status === undefined) console.error(error); // a defect of the page
    const title = t("page.title");
    const reason = h("p", { class: "problem", role: "alert" }, icon("warning"), h("span", {}, problem(error)));
    next = { element: h("div", { class: "view" }, h("div", { class: "view-head" }, h("h1", {}, title)), reason), title };
  }
  if (mine !== turn) return next.close?.();
  shown.close?.();
  shown = next;
  main.replaceChildren(next.element);
  main.removeAttribute("aria-busy");
  document.title = `${next.title} – orthoedge`;
  drawRail(name);
  next.opened?.();
  if (!isFirst) main.focus({ preventScroll: true });
  if (!isFirst) window.scrollTo(0, 0);
}

function drawRail(name) {
  rail.hidden = !isSignedIn();
  document.getElementById("skip").textContent = t("page.skip");
  const tabs = TABS.map((tab) =>
    h("a", { href: `#/${tab}`, class: "tab", "aria-current": tab === name ? "page" : null }, icon(tab), h("span", {}, t(`page.nav.${tab}`))),
  );
  const { user, has_accounts: hasAccounts } = session();
  const leave = button(t("page.sign_out"), "signout", () => leaveSession(), { class: "tab tab-out", title: t("page.user", { name: user }) });
  rail.replaceChildren(
    h("a", { href: "#/today", class: "brand", "aria-label": "orthoedge" }, h("img", { src: "mark.svg", alt: "", width: 32, height: 32 })),
    h("nav", { "aria-label": t("page.nav.label"), class: "tabs" }, ...tabs),
    hasAccounts ? leave : "",
  );
}

async function leaveSession({ isLocked = false } = {}) {
  await signOut().catch(() => loadSession()); // a session that has ended cannot be ended
  await restart();
  if (isLocked) toast(t("page.login.locked"), "bad");
}

/** After a change of language or user. */
async function restart(options = {}) {
  const { languages } = session();
  const wanted = [preference("language"), ...navigator.languages.map((code) => code.split("-")[0]), "en"];
  await useLanguage(wanted.find((code) => languages.some((language) => language.code === code)));
  if (isSignedIn()) news.open();
  else news.close();
  idle.start(isSignedIn() ? session().idle_s : 0);
  await show(options);
}

function watchNews() {
  news.addEventListener("finding", ({ detail: summary }) => {
    if (summary.failure) return;
    const kind = urgency(summary);
    const isOpen = summary.alert && summary.decision !== "reject";
    const name = patientText(summary) || summary.file_name;
    const sentence = t("page.list.arrived", { name, finding: findingText(summary) });
    if (isOpen) announce(sentence);
    const symbol = isLeftOpen(summary) ? "malignant_possible" : kind;
    if (summary.origin !== "page") toast(sentence, kind, symbol);
  });
}

function watchDrops() {
  let depth = 0; // of elements that were entered with a file
  const hasFiles = (event) => isSignedIn() && event.dataTransfer?.types.includes("Files");
  const mark = (isOver) => document.body.classList.toggle("is-over", isOver);
  uploads.addEventListener("end", () => {
    // A single radiograph is what its person wants to see.
    if (uploads.total !== 1 || !uploads.last) return;
    loadPicture(uploads.last.number);
    navigate(`/radiograph/${uploads.last.number}`);
  });
  window.addEventListener("dragenter", (event) => hasFiles(event) && mark(++depth > 0));
  window.addEventListener("dragleave", (event) => hasFiles(event) && mark(--depth > 0));
  window.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  window.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark((depth = 0) > 0);
    const files = await droppedFiles(event.dataTransfer);
    if (place().name !== "today") navigate("/today");
    if (!uploads.add(files)) toast(t("page.upload.none"), "bad");
  });
}

window.addEventListener("hashchange", () => show());
window.addEventListener("signed-out", async () => {
  await loadSession();
  await restart();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

await Promise.all([loadSession(), loadIcons()]);
watchNews();
watchDrops();
await restart({ isFirst: true });
setTimeout(colours); // so that the first radiograph does not wait for the table
