/** Draws a view of a radiograph into a canvas, at the resolution of the canvas. */

import { colours } from "./heat.js";
import { drawOutlines } from "./outlines.js";
import { fillGrey } from "./picture.js";

const LINE = "#3cbeff"; // sky blue; amber and this differ for every kind of eye
const RIM = "#000";
const FRAME = "#969696";
const DIMMED = 0.4; // of the brightness, outside the field that the network looked at
const CROSSED = 0.5; // of the brightness, of a rejected picture

export class Painter {
  constructor(picture, heat, facts) {
    this.picture = picture;
    this.heat = heat;
    this.facts = facts;
    this.grey = new Uint8Array(2 ** Math.min(16, Math.max(1, picture.bits)));
    this.part = document.createElement("canvas"); // what is seen of the copy in use
    this.spread = { key: "", values: null };
    this.line = heat && !heat.isEmpty ? heat.line : null;
  }

  /** @param {HTMLCanvasElement} canvas @param {Viewer} view */
  paint(canvas, view) {
    const context = canvas.getContext("2d", { alpha: false });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const seen = this.#seen(canvas, view);
    if (!seen) return;
    this.#fill(seen, view);
    context.setTransform(view.transform);
    context.imageSmoothingEnabled = view.scale < 4;
    context.imageSmoothingQuality = "medium";
    const [x, y, width, height] = [seen.x, seen.y, seen.width, seen.height].map((value) => value * seen.step);
    context.drawImage(this.part, 0, 0, seen.width, seen.height, x, y, width, height);
    this.#drawLines(context, view);
  }

  /** The part of the fitting copy that is seen, in its pixels. */
  #seen(canvas, view) {
    const index = this.picture.indexFor(view.scale);
    const level = this.picture.level(index);
    const step = 2 ** index;
    const back = view.transform.inverse();
    const corners = [[0, 0], [canvas.width, 0], [0, canvas.height], [canvas.width, canvas.height]];
    const places = corners.map(([x, y]) => back.transformPoint({ x, y }));
    const bound = (name, most) => {
      const values = places.map((place) => place[name] / step);
      const low = Math.max(0, Math.floor(Math.min(...values)));
      return [low, Math.min(most, Math.ceil(Math.max(...values))) - low];
    };
    const [x, width] = bound("x", level.width);
    const [y, height] = bound("y", level.height);
    return width > 0 && height > 0 ? { index, level, step, x, y, width, height } : null;
  }

  #fill(seen, view) {
    const { level, x, y, width, height } = seen;
    if (this.part.width !== width || this.part.height !== height) {
      this.part.width = width;
      this.part.height = height;
      this.image = null;
    }
    const context = this.part.getContext("2d", { alpha: false });
    this.image ??= context.createImageData(width, height);
    const out = new Uint32Array(this.image.data.buffer);
    const grey = fillGrey(this.grey, view.window.center, view.window.width, view.isInverted);
    const heat = this.#heatOf(seen, view);
    const table = colours();
    const last = grey.length - 1;
    const scaled = Uint16Array.from({ length: 256 }, (_, step) => Math.round(step * view.opacity) << 8);
    const bright = this.facts.isRejected ? CROSSED : 1;
    const field = this.#field(seen);
    const outside = Uint8Array.from(grey, (value) => Math.round(value * (field ? DIMMED : 1) * bright));
    if (this.facts.isRejected) grey.forEach((value, index) => (grey[index] = Math.round(value * bright)));
    const { samples } = level;
    for (let row = 0; row < height; row++) {
      const start = (y + row) * level.width + x;
      const to = row * width;
      const isInside = !field || (row >= field.top && row < field.bottom);
      const left = isInside ? (field?.left ?? 0) : width;
      const right = isInside ? (field?.right ?? width) : width;
      for (let column = 0; column < left; column++) out[to + column] = table[outside[Math.min(last, samples[start + column])]];
      for (let column = left; column < right; column++) {
        const saliency = heat ? scaled[heat[to + column]] : 0;
        out[to + column] = table[saliency | grey[Math.min(last, samples[start + column])]];
      }
      for (let column = Math.max(left, right); column < width; column++) out[to + column] = table[outside[Math.min(last, samples[start + column])]];
    }
    context.putImageData(this.image, 0, 0);
  }

  /** The field that the network looked at, in pixels of the part that is seen; null if it is all. */
  #field({ step, x, y, width, height }) {
    if (!this.heat) return null;
    const [x0, y0, x1, y1] = this.heat.field;
    const { picture } = this;
    if (x0 <= 0 && y0 <= 0 && x1 >= picture.width && y1 >= picture.height) return null;
    const clip = (value, from, most) => Math.min(most, Math.max(0, Math.round(value / step) - from));
    return { left: clip(x0, x, width), right: clip(x1, x, width), top: clip(y0, y, height), bottom: clip(y1, y, height) };
  }

  #heatOf(seen, view) {
    if (!this.heat || this.heat.isEmpty || view.opacity === 0) return null;
    const key = [seen.index, seen.x, seen.y, seen.width, seen.height].join();
    if (this.spread.key !== key) this.spread = { key, values: this.heat.spread(seen.step, seen) };
    return this.spread.values;
  }

  #drawLines(context, view) {
    const unit = (view.lineZoom ?? (window.devicePixelRatio || 1)) / view.scale;
    const { width, height } = this.picture;
    if (this.#hasMargin()) {
      const [x0, y0, x1, y1] = this.heat.field;
      context.strokeStyle = FRAME;
      context.lineWidth = unit;
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    if (this.facts.isRejected) {
      const cross = new Path2D();
      cross.moveTo(0, 0);
      cross.lineTo(width, height);
      cross.moveTo(width, 0);
      cross.lineTo(0, height);
      stroke(context, cross, unit, "#fff");
    }
    if (this.line && view.hasLine) stroke(context, this.line, unit, LINE);
    if (this.facts.outlines && view.hasOutline) drawOutlines(context, this.facts.outlines, unit);
    if (view.ruler) drawRuler(context, view.ruler, unit);
    if (view.cursor) drawCursor(context, view.cursor, unit);
  }

  #hasMargin() {
    if (!this.heat) return false;
    const [x0, y0, x1, y1] = this.heat.field;
    return x0 > 0 || y0 > 0 || x1 < this.picture.width || y1 < this.picture.height;
  }
}

/** Draw lines with a dark rim, `unit` being a pixel of the page. */
function stroke(context, path, unit, colour) {
  context.lineJoin = context.lineCap = "round";
  for (const [shade, width] of [[RIM, 4], [colour, 2]]) {
    context.strokeStyle = shade;
    context.lineWidth = width * unit;
    context.stroke(path);
  }
}

function drawRuler(context, { from, to }, unit) {
  const path = new Path2D();
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const across = { x: (-(to.y - from.y) / length) * 7 * unit, y: ((to.x - from.x) / length) * 7 * unit };
  path.moveTo(from.x, from.y);
  path.lineTo(to.x, to.y);
  for (const end of [from, to]) {
    path.moveTo(end.x - across.x, end.y - across.y);
    path.lineTo(end.x + across.x, end.y + across.y);
  }
  stroke(context, path, unit, "#fff");
}

function drawCursor(context, { x, y }, unit) {
  const path = new Path2D();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    path.moveTo(x + dx * 3 * unit, y + dy * 3 * unit);
    path.lineTo(x + dx * 12 * unit, y + dy * 12 * unit);
  }
  stroke(context, path, unit, "#fff");
}
