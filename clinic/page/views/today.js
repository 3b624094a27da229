/** The radiographs of today, and the place where new ones are dropped. */

import { api } from "../core/api.js";
import { button, h, icon } from "../core/dom.js";
import { t } from "../core/texts.js";
import { chosenFiles, uploads } from "../core/uploads.js";
import { row } from "./rows.js";
import { uploadStatus } from "./upload_status.js";

const PAGE = 100; // lines that are loaded at once
const COUNT = 300; // milliseconds after the last arrival until the day is counted
const MINUTE = 60_000;

const midnight = () => new Date().setHours(0, 0, 0, 0);

/** The day of the clinic as YYYY-MM-DD, `days` before today. */
export function dayBefore(days = 0) {
  const date = new Date();
  date.setDate(date.getDate() - days);
  const two = (value) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export async function today({ events }) {
  const list = h("ul", { class: "rows" });
  const counts = h("p", { class: "counts" });
  const more = button(t("page.more"), null, () => load(), { class: "button more", hidden: true });
  const rows = new Map(); // number, or name of a bad file: summary and line
  const zone = dropZone();
  const status = uploadStatus();
  let oldest = "";
  let day = midnight();

  async function load() {
    // By the day a radiograph came in: an old one that is added today belongs to today's list.
    const answer = await api.findings({ limit: PAGE, before: oldest });
    const entered = answer.findings.filter(({ time }) => time * 1000 >= day);
    for (const summary of entered) put(summary, false);
    oldest = answer.findings.at(-1)?.number ?? oldest;
    more.hidden = !answer.more || entered.length < answer.findings.length;
    await count();
  }

  /** Begin the list of another day, if one has begun. */
  async function turn() {
    if (day === midnight()) return;
    day = midnight();
    oldest = "";
    rows.clear();
    list.replaceChildren();
    await load();
  }

  function put(summary, isNew) {
    const key = summary.number ?? summary.file_name;
    const line = row(summary);
    if (rows.has(key)) rows.get(key).line.replaceWith(line);
    else if (isNew) list.prepend(line);
    else list.append(line);
    rows.set(key, { summary, line });
  }

  /** Count the whole day: the list may hold a part of it alone. */
  async function count() {
    const { findings, urgent } = await api.counts(day / 1000);
    counts.replaceChildren(
      h("span", {}, findings ? t("page.list.count", { n: findings }) : t("page.list.empty")),
      urgent ? h("span", { class: "mark mark-refer" }, icon("refer"), h("span", {}, t("page.list.urgent", { n: urgent }))) : "",
    );
    zone.classList.toggle("drop-large", rows.size === 0);
  }

  let counting = 0;
  const arrive = async (event) => {
    await turn().catch(() => {}); // the next minute tries again
    put(event.detail, true);
    zone.classList.remove("drop-large");
    clearTimeout(counting); // of a folder not after every file
    counting = setTimeout(() => count().catch(() => {}), COUNT);
  };
  events.addEventListener("finding", arrive);
  uploads.addEventListener("row", arrive);
  const clock = setInterval(() => turn().catch(() => {}), MINUTE);
  await load();

  const title = t("page.list.title");
  const element = h(
    "div",
    { class: "view today" },
    h("header", { class: "view-head" }, h("h1", {}, title), counts),
    zone,
    status.element,
    list,
    more,
  );
  const close = () => {
    events.removeEventListener("finding", arrive);
    uploads.removeEventListener("row", arrive);
    status.close();
    clearInterval(clock);
    clearTimeout(counting);
  };
  return { element, title, close };
}

function dropZone() {
  const chooser = (attributes) =>
    h("input", {
      type: "file",
      class: "visually-hidden",
      tabindex: "-1",
      "aria-hidden": "true",
      multiple: true,
      ...attributes,
      on: {
        change: (event) => {
          uploads.add(chosenFiles(event.target.files));
          event.target.value = ""; // so that the same files can be chosen once more
        },
      },
    });
  const files = chooser({ id: "choose-files" });
  const folder = chooser({ id: "choose-folder", webkitdirectory: true });
  return h(
    "section",
    { class: "drop", "aria-label": t("page.drop.title") },
    icon("drop"),
    h("p", { class: "drop-text" }, h("strong", {}, t("page.drop.title")), h("span", {}, t("page.drop.hint"))),
    button(t("page.drop.files"), "files", () => files.click(), { class: "button primary" }),
    button(t("page.drop.folder"), "folder", () => folder.click(), { class: "button" }),
    files,
    folder,
  );
}
