/** The way in, where the clinic has accounts. */

import { button, field, h, icon } from "../core/dom.js";
import { problem } from "../core/problems.js";
import { signIn } from "../core/session.js";
import { t } from "../core/texts.js";
import { languageField } from "./settings.js";

export async function login({ refresh }) {
  const user = h("input", { type: "text", name: "user", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true });
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true });
  const wrong = h("p", { class: "form-problem", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    try {
      await signIn(user.value.trim(), password.value);
    } catch (error) {
      wrong.textContent = problem(error);
      password.value = "";
      password.focus();
      return;
    }
    refresh();
  };
  const title = t("page.login.title");
  const form = h(
    "form",
    { class: "card login-form", on: { submit } },
    h("img", { src: "mark.svg", alt: "orthoedge", width: 56, height: 56 }),
    h("h1", {}, title),
    field(t("page.login.user"), user),
    field(t("page.login.password"), password),
    wrong,
    button(t("page.login.submit"), null, null, { type: "submit", class: "button primary" }),
    languageField(t("page.login.language"), refresh),
  );
  const notice = h("p", { class: "notice" }, icon("warning"), h("span", {}, t("notice.operator")));
  return { element: h("div", { class: "view login" }, form, notice), title, opened: () => user.focus() };
}
