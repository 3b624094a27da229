/** A radiograph with its tools. */

import { api } from "../core/api.js";
import { h, icon, toast } from "../core/dom.js";
import { problem } from "../core/problems.js";
import { t, texts } from "../core/texts.js";
import { Heat } from "../viewer/heat.js";
import { outlinesOf } from "../viewer/outlines.js";
import { Picture } from "../viewer/picture.js";
import { Viewer } from "../viewer/viewer.js";

const TOOLS = ["window", "pan", "ruler"];

const latest = { number: 0, picture: null }; // a radiograph that was just added is asked for at once

/** Load a radiograph as fine as this screen can show the whole of it. */
export function loadPicture(number) {
  if (latest.number !== number) {
    const side = Math.ceil(Math.min(window.innerWidth, window.innerHeight) * (window.devicePixelRatio || 1));
    const whole = () => api.pixels(number);
    latest.number = number;
    latest.picture = api.pixels(number, side).then((pixels) => new Picture(pixels, whole));
    latest.picture.catch(() => (latest.number = 0)); // it is asked for once more the next time
  }
  return latest.picture;
}

/**
 * The canvas with its tools; `opened` is called once it is in the page, and waits for the picture.
 *
 * @param {Object} details answer of `GET findings/{n}`
 * @param {Promise<Picture>} loading the map is made ready while the picture is on its way
 */
export function stage(details, loading) {
  const { finding } = details;
  const isRejected = finding.decision === "reject";
  const heat = isRejected ? null : new Heat(finding);
  const canvas = h("canvas", { class: "canvas", tabindex: "0", role: "application", "aria-label": t("page.viewer.label") });
  const length = h("p", { class: "length", "aria-live": "polite", hidden: true });
  const state = h("p", { class: "stage-state" });
  const surface = h("div", { class: "surface" }, canvas, length, state);
  const element = h("div", { class: "stage" }, surface);
  let viewer = null;
  let isClosed = false;

  async function opened() {
    let picture;
    try {
      picture = await loading;
    } catch (error) {
      surface.replaceChildren(h("p", { class: "problem", role: "alert" }, icon("warning"), h("span", {}, t("page.viewer.failed", { reason: problem(error) }))));
      return null;
    }
    if (isClosed) return null;
    viewer = new Viewer(canvas, picture, details.window, heat, { spacing: details.spacing_mm, isRejected, outlines: isRejected ? null : outlinesOf(finding) });
    element.prepend(toolbar(viewer, details));
    element.append(mapBar(viewer, heat, finding));
    viewer.addEventListener("change", () => showState(viewer, state));
    viewer.addEventListener("change", () => showLength(viewer, length, details, false));
    viewer.addEventListener("measure", () => showLength(viewer, length, details, true));
    viewer.addEventListener("coarse", ({ detail }) => toast(t("page.viewer.failed", { reason: problem(detail) }), "bad"));
    showState(viewer, state);
    return viewer;
  }

  function close() {
    isClosed = true;
    viewer?.close();
  }

  return { element, opened, close };
}

function showState(viewer, state) {
  const { center, width } = viewer.window;
  const values = { center: Math.round(center), width: Math.round(width), zoom: texts().share(viewer.scale / (window.devicePixelRatio || 1)) };
  state.textContent = t("page.viewer.state", values);
}

function showLength(viewer, length, details, isSaid) {
  length.hidden = viewer.length === null;
  if (viewer.length === null) return;
  const value = texts().number(viewer.length, 1);
  const words = [h("strong", {}, t("page.viewer.length", { length: value })), h("span", {}, plane(details.spacing_plane))];
  if (isSaid || length.dataset.value !== value) length.replaceChildren(...words);
  length.dataset.value = value;
}

function plane(name) {
  return t(`page.viewer.plane_${name === "detector" || name === "patient" ? name : "unknown"}`);
}

function tool(symbol, text, click, attributes = {}) {
  return h("button", { type: "button", class: "tool", ...attributes, on: { click } }, icon(symbol), h("span", {}, text));
}

function toolbar(viewer, details) {
  const hint = h("p", { class: "hint", role: "status" });
  const choices = TOOLS.map((name) => {
    const isMissing = name === "ruler" && !details.spacing_mm;
    const attributes = { "aria-pressed": String(viewer.tool === name), "aria-disabled": String(isMissing) };
    return tool(name, t(`page.viewer.${name}`), () => choose(name, isMissing), attributes);
  });
  function choose(name, isMissing) {
    hint.textContent = t(isMissing ? "page.viewer.ruler_none" : `page.viewer.${name}_hint`);
    clearTimeout(choose.timer);
    choose.timer = setTimeout(() => (hint.textContent = ""), 6000);
    if (isMissing) return;
    viewer.tool = name;
    choices.forEach((element, index) => element.setAttribute("aria-pressed", String(TOOLS[index] === name)));
  }
  const invert = tool("invert", t("page.viewer.invert"), () => {
    viewer.invert();
    invert.setAttribute("aria-pressed", String(viewer.isInverted));
  }, { "aria-pressed": "false" });
  const actions = [
    tool("zoom_in", t("page.viewer.zoom_in"), () => viewer.zoomIn()),
    tool("zoom_out", t("page.viewer.zoom_out"), () => viewer.zoomOut()),
    tool("rotate", t("page.viewer.rotate"), () => viewer.rotate()),
    invert,
    tool("fit", t("page.viewer.reset"), () => {
      viewer.reset();
      invert.setAttribute("aria-pressed", "false");
    }),
  ];
  return h("div", { class: "tools", role: "toolbar", "aria-label": t("page.viewer.tools") }, ...choices, ...actions, hint);
}

function mapBar(viewer, heat, { lesions }) {
  if (!heat) return h("div", { class: "map-bar" }, h("p", { class: "map-meaning" }, t("page.viewer.no_map")));
  const controls = heat.isEmpty ? [] : mapControls(viewer, heat);
  const sentences = heat.isEmpty ? [t("page.viewer.map_empty")] : [t("page.viewer.map_meaning"), t(heat.hasLine ? "page.viewer.contour_meaning" : "page.viewer.contour_outside")];
  if (lesions) sentences.push(t(lesions.length ? "page.viewer.outline_meaning" : "page.viewer.outline_none"));
  if (lesions?.length) controls.push(shownTool("outline", viewer, "hasOutline"));
  if (!coversAll(heat, viewer.picture)) sentences.push(t("page.viewer.margin_meaning"));
  const meaning = h("p", { class: "map-meaning" }, ...sentences.map((sentence) => h("span", {}, sentence, " ")));
  const scale = h("span", { class: "scale", "aria-hidden": "true" }, h("span", {}, t("page.viewer.map_none")), h("span", { class: "scale-bar" }), h("span", {}, t("page.viewer.map_peak")));
  return h("div", { class: "map-bar" }, ...controls, h("div", { class: "map-words" }, heat.isEmpty ? null : scale, meaning));
}

function mapControls(viewer, heat) {
  const slider = h("input", {
    type: "range", min: 0, max: 100, step: 5, value: viewer.opacity * 100, "aria-label": t("page.viewer.map_opacity"),
    on: {
      input: () => {
        viewer.opacity = slider.value / 100;
        slider.setAttribute("aria-valuetext", texts().share(viewer.opacity));
        map.setAttribute("aria-pressed", String(viewer.opacity > 0));
        viewer.draw();
      },
    },
  });
  const map = tool("map", t("page.viewer.map"), () => {
    slider.value = viewer.opacity > 0 ? 0 : 100;
    slider.dispatchEvent(new Event("input"));
  }, { "aria-pressed": "true" });
  return [map, slider, shownTool("contour", viewer, "hasLine", !heat.hasLine)];
}

/** A button that shows or hides lines of the viewer. */
function shownTool(name, viewer, property, disabled = false) {
  const element = tool(name, t(`page.viewer.${name}`), () => {
    viewer[property] = !viewer[property];
    element.setAttribute("aria-pressed", String(viewer[property]));
    viewer.draw();
  }, { "aria-pressed": "true", disabled });
  return element;
}

function coversAll(heat, { width, height }) {
  const [x0, y0, x1, y1] = heat.field;
  return x0 <= 0 && y0 <= 0 && x1 >= width && y1 >= height;
}
