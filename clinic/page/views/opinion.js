/** The physician's own answer on a radiograph. */

import { api } from "../core/api.js";
import { button, field, h, icon, own, segments, toast } from "../core/dom.js";
import { problem } from "../core/problems.js";
import { mayAnswer, session } from "../core/session.js";
import { t, texts } from "../core/texts.js";

const OTHER = ""; // neither of the labels, or not certain

/**
 * @param {Object} details answer of `GET findings/{n}`
 * @param {() => void} saved called after an opinion was stored
 */
export function opinion(details, saved) {
  const given = details.opinions.map(line);
  const section = h("section", { class: "card opinion" }, h("h2", {}, t("page.opinion.title")));
  if (given.length) section.append(h("ul", { class: "opinions" }, ...given));
  if (!mayAnswer()) {
    section.append(h("p", { class: "quiet" }, t("page.opinion.not_allowed")));
    return section;
  }
  const entry = form(details, saved);
  if (!given.length) section.append(entry);
  else section.append(h("details", {}, h("summary", {}, t("page.opinion.again")), entry));
  return section;
}

function line({ time, user, agrees, label, note }) {
  const date = texts().dateTime(time);
  return h(
    "li",
    { class: `given ${agrees ? "opinion-agree" : "opinion-disagree"}` },
    icon(agrees ? "yes" : "no"),
    h(
      "div",
      {},
      h("strong", {}, t(agrees ? "page.opinion.agree" : "page.opinion.disagree")),
      label && h("p", {}, t("page.opinion.was", { label: texts().label(label) })),
      note && h("p", {}, own(note)),
      h("p", { class: "quiet" }, user ? t("page.opinion.by", { user, date }) : t("page.opinion.by_nobody", { date })),
    ),
  );
}

function form(details, saved) {
  let agrees = null;
  let label = null;
  const wrong = h("p", { class: "form-problem", role: "alert" });
  const note = h("textarea", { rows: 2, maxlength: 2000 });
  const isRejected = details.finding.decision === "reject"; // then no label was given
  const labels = session().labels.filter((name) => name !== details.finding.label || isRejected);
  const options = [...labels.map((name) => [name, texts().label(name)]), [OTHER, t("page.opinion.other")]];
  const what = segments(t("page.opinion.what"), "opinion-label", options, null, (value) => (label = value));
  what.classList.add("choice-lines");
  what.hidden = true;
  const answers = [["yes", t("page.opinion.yes")], ["no", t("page.opinion.no")]];
  const question = segments(t("page.opinion.question"), "opinion-agrees", answers, null, (value) => {
    agrees = value === "yes";
    what.hidden = agrees;
    rest.hidden = false;
  });
  question.classList.add("choice-large");
  const save = button(t("page.opinion.save"), "yes", null, { class: "button primary", type: "submit" });
  const rest = h("div", { hidden: true }, what, field(t("page.opinion.note"), note), save);
  const submit = async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    if (agrees === null) return void (wrong.textContent = t("page.opinion.choose"));
    if (!agrees && label === null) return void (wrong.textContent = t("page.opinion.choose_label"));
    try {
      await api.addOpinion(details.number, { agrees, label: agrees ? "" : label, note: note.value.trim() });
    } catch (error) {
      return void (wrong.textContent = problem(error));
    }
    toast(t("page.opinion.saved"));
    return saved();
  };
  return h("form", { class: "form", novalidate: true, on: { submit } }, question, rest, wrong);
}
