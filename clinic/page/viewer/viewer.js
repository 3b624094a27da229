/** A radiograph on a canvas: window, zoom, pan, rotation, map, line and ruler. */

import { Painter } from "./painter.js";
import { Pointers } from "./pointers.js";

const STEP = 1.25; // of one press on a zoom button
const LARGEST = 16; // pixels of the screen for each pixel of the radiograph

/**
 * Events: `change` after the view changed, `measure` after a length was drawn, `coarse` with the error in
 * `detail` if the pixels that a zoom needs cannot be loaded.
 */
export class Viewer extends EventTarget {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Picture} picture
   * @param {{center: number, width: number}} window as the file asks for
   * @param {Heat|null} heat
   * @param {{spacing: [number, number]|null, isRejected: boolean, outlines: Path2D|null}} facts spacing in
   *   mm by row and column; outlines of lesions in pixels of the radiograph
   */
  constructor(canvas, picture, window, heat, facts) {
    super();
    this.canvas = canvas;
    this.picture = picture;
    this.heat = heat;
    this.facts = facts;
    this.asked = { ...window };
    this.painter = new Painter(picture, heat, facts);
    this.tool = "window";
    this.opacity = 1;
    this.hasLine = true;
    this.hasOutline = true;
    this.cursor = null; // of the ruler by keyboard, in pixels of the radiograph
    this.reset();
    this.pointers = new Pointers(this);
    this.observer = new ResizeObserver(() => this.#resize());
    this.observer.observe(canvas);
    this.#resize();
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  /** Everything as the file asks for. */
  reset() {
    this.window = { ...this.asked };
    this.isInverted = false;
    this.rotation = 0; // quarter turns
    this.ruler = null;
    this.cursor = null;
    this.fit();
  }

  fit() {
    this.zoom = 1; // times the scale at which the whole radiograph is seen
    this.offset = { x: 0, y: 0 }; // of its middle, in pixels of the canvas
    this.draw();
  }

  rotate() {
    this.rotation = (this.rotation + 1) % 4;
    this.fit();
  }

  invert() {
    this.isInverted = !this.isInverted;
    this.draw();
  }

  setWindow(center, width) {
    const range = 2 ** this.picture.bits;
    this.window.center = Math.min(range * 1.5, Math.max(-range / 2, center));
    this.window.width = Math.min(range * 2, Math.max(2, width));
    this.draw();
  }

  /** Zoom by a factor about a point of the canvas. */
  zoomBy(factor, point = { x: this.canvas.width / 2, y: this.canvas.height / 2 }) {
    const zoom = Math.min(LARGEST / this.fitScale, Math.max(0.5, this.zoom * factor));
    const real = zoom / this.zoom;
    const middle = { x: this.canvas.width / 2 + this.offset.x, y: this.canvas.height / 2 + this.offset.y };
    this.offset.x += (point.x - middle.x) * (1 - real);
    this.offset.y += (point.y - middle.y) * (1 - real);
    this.zoom = zoom;
    this.draw();
  }

  zoomIn() {
    this.zoomBy(STEP);
  }

  zoomOut() {
    this.zoomBy(1 / STEP);
  }

  panBy(x, y) {
    const [across, down] = [this.canvas.width, this.canvas.height];
    this.offset.x = Math.min(across, Math.max(-across, this.offset.x + x));
    this.offset.y = Math.min(down, Math.max(-down, this.offset.y + y));
    this.draw();
  }

  /** Length of the ruler in mm, or null without spacing. */
  get length() {
    const { spacing } = this.facts;
    if (!this.ruler || !spacing) return null;
    const { from, to } = this.ruler;
    return Math.hypot((to.x - from.x) * spacing[1], (to.y - from.y) * spacing[0]);
  }

  get fitScale() {
    const { width, height } = this.picture;
    const [across, down] = this.rotation % 2 ? [height, width] : [width, height];
    return Math.min(this.canvas.width / across, this.canvas.height / down) || 1;
  }

  get scale() {
    return this.fitScale * this.zoom;
  }

  /** From pixels of the radiograph to pixels of the canvas. */
  get transform() {
    return new DOMMatrix()
      .translate(this.canvas.width / 2 + this.offset.x, this.canvas.height / 2 + this.offset.y)
      .rotate(this.rotation * 90)
      .scale(this.scale)
      .translate(-this.picture.width / 2, -this.picture.height / 2);
  }

  /** The place on the radiograph under a point of the canvas. */
  placeAt(point) {
    const { x, y } = this.transform.inverse().transformPoint(point);
    return { x, y };
  }

  draw() {
    this.frame ||= requestAnimationFrame(() => this.drawNow());
  }

  drawNow() {
    this.frame = 0;
    if (!this.canvas.width || !this.canvas.height) return;
    this.painter.paint(this.canvas, this);
    this.dispatchEvent(new Event("change"));
    if (!this.picture.isFineFor(this.scale)) this.#refine();
  }

  /** Draw once more as soon as there are pixels that are fine enough. */
  async #refine() {
    if (this.isRefining) return;
    this.isRefining = true;
    try {
      await this.picture.whole();
      this.draw();
    } catch (error) {
      this.dispatchEvent(new CustomEvent("coarse", { detail: error }));
    }
    this.isRefining = false;
  }

  #resize() {
    const ratio = window.devicePixelRatio || 1;
    const box = this.canvas.getBoundingClientRect();
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (width === this.canvas.width && height === this.canvas.height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    cancelAnimationFrame(this.frame);
    this.drawNow(); // at once: a resized canvas is empty
  }
}
