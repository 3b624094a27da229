/** Elements without markup strings: text from a file never becomes part of the page's structure. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Object} [attributes] `on` holds listeners; `hidden: true` sets, `false` and `null` leave out.
 * @param {...(Node|string|null|undefined|false)} children
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an SVG element; arguments as of `h`. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child || child === 0));
  return element;
}

/** Put the symbols into the page: one that is fetched when it is used comes too late for a print. */
export async function loadIcons() {
  const response = await fetch("icons.svg");
  const file = new DOMParser().parseFromString(await response.text(), "image/svg+xml");
  document.body.append(document.adoptNode(file.documentElement));
}

/** @param {string} name of a symbol in icons.svg */
export function icon(name) {
  const use = svg("use", { href: `#icon-${name}` });
  return svg("svg", { class: `icon icon-${name}`, "aria-hidden": "true", focusable: "false" }, use);
}

/** A button with an icon and a word. */
export function button(text, symbol, click, attributes = {}) {
  const all = { type: "button", ...attributes, on: { click } };
  return h("button", all, symbol && icon(symbol), h("span", {}, text));
}

/** A name or number from a file, which keeps its own direction inside a sentence. */
export function own(text) {
  return h("bdi", {}, text);
}

/** A field with its label. */
export function field(label, control, attributes = {}) {
  control.id ||= `field-${++fields}`;
  const element = h("div", { class: "field", ...attributes });
  element.append(h("label", { for: control.id }, label), control);
  return element;
}
let fields = 0;

/**
 * A choice from a list.
 *
 * @param {[string, string][]} options value and text
 */
export function select(options, value, change) {
  const entries = options.map(([key, text]) => h("option", { value: key, selected: key === value }, text));
  return h("select", { on: { change: (event) => change?.(event.target.value) } }, ...entries);
}

/**
 * A choice of which all answers are seen.
 *
 * @param {[string, string][]} options value and text
 */
export function segments(legend, name, options, value, change) {
  const parts = options.map(([key, text]) =>
    h(
      "label",
      { class: "segment" },
      h("input", { type: "radio", name, value: key, checked: key === value, on: { change: () => change(key) } }),
      h("span", {}, text),
    ),
  );
  const row = h("div", { class: "segments" }, ...parts);
  return h("fieldset", { class: "choice" }, h("legend", {}, legend), row);
}

/** Say something to the eye and to a screen reader; it goes away by itself. */
export function toast(text, kind = "good", symbol = kind === "good" ? "yes" : "warning") {
  const place = document.getElementById("toasts");
  const element = h("p", { class: `toast toast-${kind}` }, icon(symbol), h("span", {}, text));
  place.append(element);
  setTimeout(() => element.remove(), 7000);
}

/** Interrupt a screen reader: for a malignant finding that arrives. */
export function announce(text) {
  document.getElementById("alerts").textContent = text;
}
