/** How far the adding of files is. */

import { button, h, icon, own } from "../core/dom.js";
import { problem } from "../core/problems.js";
import { t } from "../core/texts.js";
import { uploads } from "../core/uploads.js";

export function uploadStatus() {
  const element = h("section", { class: "upload", "aria-label": t("page.upload.title"), hidden: true });
  const progress = h("progress", { "aria-label": t("page.upload.title") });
  const words = h("p", { class: "upload-words", role: "status" });
  const name = h("p", { class: "upload-name", "aria-hidden": "true" });
  const stop = button(t("page.upload.stop"), "no", () => uploads.stop(), { class: "button" });
  const dismiss = button(t("page.upload.dismiss"), "no", () => hide(), { class: "button" });
  element.append(h("div", { class: "upload-main" }, words, progress, name), stop, dismiss);

  function hide() {
    uploads.clear();
    show();
  }

  function show() {
    const { total, done, failed, left, isRunning } = uploads;
    element.hidden = total === 0 || (!isRunning && total === 1);
    if (element.hidden) return;
    progress.max = total;
    progress.value = done + left;
    progress.hidden = stop.hidden = name.hidden = !isRunning;
    dismiss.hidden = isRunning;
    name.replaceChildren(own(t("page.upload.reading", { name: uploads.reading })));
    const parts = isRunning
      ? [t("page.upload.progress", { done, n: total })]
      : [t("page.upload.finished", { n: done - failed }), left && t("page.upload.stopped", { n: left })];
    const bad = failed && h("span", { class: "mark mark-reject" }, icon("unread"), h("span", {}, t("page.upload.failed", { n: failed })));
    const cause = !isRunning && uploads.problem && problem(uploads.problem);
    const lines = [...parts, cause].filter(Boolean).map((text) => h("span", {}, text));
    words.replaceChildren(...lines, ...(bad ? [bad] : []));
  }

  uploads.addEventListener("change", show);
  show();
  return { element, close: () => uploads.removeEventListener("change", show) };
}
