/** The saliency map over the radiograph: its values, its colours, and the line at half of the peak. */

// Same meaning as in the pictures that `orthoedge predict --overlay` writes: the map moves each pixel
// away from its own grey in CIELAB, as far as it is salient.
const PEAK_OVER_BLACK = [150, 35, 0];
const PEAK_OVER_WHITE = [255, 195, 85];

/** The map of one finding, placed on its radiograph. */
export class Heat {
  /** @param {Object} finding with `saliency_map`, `placement` and `input_size` */
  constructor({ saliency_map: map, placement, input_size: size }) {
    const peak = Math.max(...map.flat());
    this.isEmpty = peak <= 0;
    this.field = placement.field;
    const [x0, y0, x1, y1] = placement.content;
    this.columns = x1 - x0;
    this.rows = y1 - y0;
    const whole = cubic(map, size, this.isEmpty ? 1 : peak);
    this.values = new Float32Array(this.columns * this.rows); // 0 to 1, over the field
    for (let row = 0; row < this.rows; row++) {
      for (let column = 0; column < this.columns; column++) {
        const value = whole[(row + y0) * size + column + x0];
        this.values[row * this.columns + column] = Math.min(1, Math.max(0, value));
      }
    }
    this.hasLine = this.values.some((value) => value >= 0.5);
    this.line = this.#traced();
  }

  /**
   * Spread the map over a part of a copy of the radiograph.
   *
   * @param {number} step pixels of the radiograph for each pixel of the copy
   * @param {{x: number, y: number, width: number, height: number}} part in pixels of the copy
   * @returns {Uint8Array} 0 to 255, and 0 outside the field
   */
  spread(step, part) {
    const out = new Uint8Array(part.width * part.height);
    const { values, columns } = this;
    const [x0, y0, x1, y1] = this.field;
    const across = axis(part.x, part.width, step, x0, x1, columns);
    const down = axis(part.y, part.height, step, y0, y1, this.rows);
    for (let row = 0; row < part.height; row++) {
      if (down.low[row] < 0) continue;
      const upper = down.low[row] * columns;
      const lower = down.high[row] * columns;
      const fraction = down.fraction[row];
      for (let column = 0; column < part.width; column++) {
        const left = across.low[column];
        if (left < 0) continue;
        const right = across.high[column];
        const share = across.fraction[column];
        const top = values[upper + left] + (values[upper + right] - values[upper + left]) * share;
        const bottom = values[lower + left] + (values[lower + right] - values[lower + left]) * share;
        out[row * part.width + column] = (top + (bottom - top) * fraction) * 255 + 0.5;
      }
    }
    return out;
  }

  /** The line at half of the peak, in pixels of the radiograph. */
  #traced() {
    const path = new Path2D();
    const [x0, y0, x1, y1] = this.field;
    const zoom = [(x1 - x0) / this.columns, (y1 - y0) / this.rows];
    for (const points of trace(this.values, this.columns, this.rows, 0.5)) {
      points.forEach(([x, y], index) => {
        const place = [x0 + (x + 0.5) * zoom[0], y0 + (y + 0.5) * zoom[1]];
        index ? path.lineTo(...place) : path.moveTo(...place);
      });
      path.closePath();
    }
    return path;
  }
}

/** For each pixel of one side: the two entries of the map next to it, and how far it is to the second. */
function axis(start, length, step, from, to, entries) {
  const low = new Int32Array(length).fill(-1);
  const high = new Int32Array(length);
  const fraction = new Float32Array(length);
  for (let index = 0; index < length; index++) {
    const place = (start + index + 0.5) * step;
    if (place < from || place >= to) continue;
    const at = Math.min(entries - 1, Math.max(0, ((place - from) / (to - from)) * entries - 0.5));
    low[index] = Math.floor(at);
    high[index] = Math.min(entries - 1, low[index] + 1);
    fraction[index] = at - low[index];
  }
  return { low, high, fraction };
}

/** Enlarge a small map to size × size by cubic convolution with a = -0.75, as the runtime does. */
function cubic(map, size, peak) {
  const across = weights(map[0].length, size);
  const down = weights(map.length, size);
  const wide = map.map((values) => {
    const row = new Float32Array(size);
    for (let x = 0, at = 0; x < size; x++) {
      for (let tap = 0; tap < 4; tap++, at++) row[x] += across.share[at] * (values[across.index[at]] / peak);
    }
    return row;
  });
  const out = new Float32Array(size * size);
  for (let y = 0, at = 0; y < size; y++) {
    for (let tap = 0; tap < 4; tap++, at++) {
      const [share, row, start] = [down.share[at], wide[down.index[at]], y * size];
      for (let x = 0; x < size; x++) out[start + x] += share * row[x];
    }
  }
  return out;
}

function weights(entries, size) {
  const index = new Int32Array(4 * size);
  const share = new Float32Array(4 * size);
  const a = -0.75;
  for (let x = 0; x < size; x++) {
    const at = ((x + 0.5) * entries) / size - 0.5;
    const base = Math.floor(at);
    const f = at - base;
    const near = (d) => ((a + 2) * d - (a + 3)) * d * d + 1;
    const far = (d) => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    [far(1 + f), near(f), near(1 - f), far(2 - f)].forEach((value, tap) => {
      share[4 * x + tap] = value;
      index[4 * x + tap] = Math.min(entries - 1, Math.max(0, base - 1 + tap));
    });
  }
  return { index, share };
}

/** Marching squares: closed lines at `level`; beyond the border the map counts as 0. */
export function trace(values, columns, rows, level) {
  const next = new Map(); // from one edge of the grid to the next edge of the line
  const places = new Map();
  const at = (x, y) => (x < 0 || y < 0 || x >= columns || y >= rows ? 0 : values[y * columns + x]);
  const edge = ([dx, dy, isDown], x, y) => {
    const id = ((y + dy + 2) * (columns + 4) + x + dx + 2) * 2 + isDown;
    if (!places.has(id)) places.set(id, crossing(at, x + dx, y + dy, isDown, columns, rows, level));
    return id;
  };
  for (let y = -1; y < rows; y++) {
    for (let x = -1; x < columns; x++) {
      let kind = 0;
      if (at(x, y) >= level) kind += 8;
      if (at(x + 1, y) >= level) kind += 4;
      if (at(x + 1, y + 1) >= level) kind += 2;
      if (at(x, y + 1) >= level) kind += 1;
      if (kind === 0 || kind === 15) continue;
      for (const [from, to] of SEGMENTS[kind]) next.set(edge(SIDES[from], x, y), edge(SIDES[to], x, y));
    }
  }
  return chained(next, places);
}

/** Where the line crosses the edge from one value to the one at its right or below it. */
function crossing(at, x, y, isDown, columns, rows, level) {
  const [right, below] = isDown ? [x, y + 1] : [x + 1, y];
  const isBorder = x < 0 || y < 0 || right >= columns || below >= rows;
  const [first, second] = [at(x, y), at(right, below)];
  const share = isBorder ? 0.5 : (level - first) / (second - first);
  return [x + (right - x) * share, y + (below - y) * share];
}

function chained(next, places) {
  const lines = [];
  while (next.size) {
    const line = [];
    let [id] = next.keys();
    while (next.has(id)) {
      line.push(places.get(id));
      const following = next.get(id);
      next.delete(id);
      id = following;
    }
    lines.push(line);
  }
  return lines;
}

// Edges of a square: where they begin, and whether they go down.
const SIDES = { t: [0, 0, 0], r: [1, 0, 1], b: [0, 1, 0], l: [0, 0, 1] };

// Direction of the line in each of the 16 squares, with what is inside at its right.
const SEGMENTS = {
  1: ["lb"], 2: ["br"], 3: ["lr"], 4: ["rt"], 5: ["lt", "rb"], 6: ["bt"], 7: ["lt"],
  8: ["tl"], 9: ["tb"], 10: ["tr", "bl"], 11: ["tr"], 12: ["rl"], 13: ["rb"], 14: ["bl"],
};

let table = null;

/** Colours packed for a canvas, uint32 (65536,): saliency 0 to 255 times 256, plus grey. */
export function colours() {
  if (table) return table;
  table = new Uint32Array(65536);
  const [low, high] = [lab(PEAK_OVER_BLACK), lab(PEAK_OVER_WHITE)];
  for (let grey = 0; grey < 256; grey++) {
    const cold = lab([grey, grey, grey]);
    const hot = low.map((value, channel) => value + ((high[channel] - value) * cold[0]) / 100);
    for (let step = 0; step < 256; step++) {
      const share = step / 255;
      const tint = step ? rgb(cold.map((value, channel) => value + (hot[channel] - value) * share)) : [grey, grey, grey];
      table[(step << 8) | grey] = ((255 << 24) | (tint[2] << 16) | (tint[1] << 8) | tint[0]) >>> 0;
    }
  }
  return table;
}

const WHITE = [0.950456, 1, 1.088754]; // D65, as OpenCV has it

function lab(colour) {
  const [r, g, b] = colour.map((value) => linear(value / 255));
  const x = 0.412453 * r + 0.35758 * g + 0.180423 * b;
  const y = 0.212671 * r + 0.71516 * g + 0.072169 * b;
  const z = 0.019334 * r + 0.119193 * g + 0.950227 * b;
  const [fx, fy, fz] = [x, y, z].map((value, index) => root(value / WHITE[index]));
  return [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)];
}

function rgb([L, a, b]) {
  const fy = (L + 16) / 116;
  const [x, y, z] = [fy + a / 500, fy, fy - b / 200].map((value, index) => WHITE[index] * cube(value));
  const channels = [
    3.240479 * x - 1.53715 * y - 0.498535 * z,
    -0.969256 * x + 1.875991 * y + 0.041556 * z,
    0.055648 * x - 0.204043 * y + 1.057311 * z,
  ];
  return channels.map((value) => Math.round(255 * gamma(Math.min(1, Math.max(0, value)))));
}

const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const gamma = (value) => (value <= 0.0031308 ? value * 12.92 : 1.055 * value ** (1 / 2.4) - 0.055);
const root = (value) => (value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116);
const cube = (value) => (value > 0.206893 ? value ** 3 : (value - 16 / 116) / 7.787);
