/** The grey part of a radiograph: halved copies, and the table from samples to grey. */

/**
 * A radiograph with copies of half the size each, so that it is drawn at the resolution of the screen.
 *
 * `width` and `height`, and all places on it, are in pixels of the radiograph, whichever copies there are.
 */
export class Picture {
  /**
   * @param {{samples: Uint16Array, width: number, height: number, bits: number, step: number}} pixels
   *   samples of the finest copy that is there, one for `step` by `step` pixels of the radiograph
   * @param {() => Promise} loadWhole the same with `step` 1; is called when it is needed
   */
  constructor(pixels, loadWhole) {
    this.width = pixels.width;
    this.height = pixels.height;
    this.bits = pixels.bits;
    this.loadWhole = loadWhole;
    this.#take(pixels);
  }

  #take({ samples, width, height, step }) {
    const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
    if (samples.length !== columns * rows) throw new Error(`${samples.length} samples, ${columns}×${rows} expected`);
    this.finest = Math.log2(step); // index of the finest copy
    this.levels = [];
    this.levels[this.finest] = { samples, width: columns, height: rows };
  }

  /** Load every pixel, if they are not there; kept once they are. */
  async whole() {
    if (this.finest === 0) return;
    this.loading ??= this.loadWhole().then((pixels) => this.#take(pixels));
    try {
      await this.loading;
    } finally {
      this.loading = null; // after a failure it is tried once more the next time
    }
  }

  /** Whether the finest copy has at least one pixel for each pixel of the screen, or all there are. */
  isFineFor(scale) {
    return this.finest === 0 || scale * 2 ** this.finest <= 1;
  }

  /** Copy number `index`, of 2 to the power of `index` times coarser pixels; not below `finest`. */
  level(index) {
    while (this.levels.length <= index) {
      const last = this.levels.at(-1);
      if (Math.max(last.width, last.height) <= 64) break;
      this.levels.push(halved(last));
    }
    return this.levels[Math.min(index, this.levels.length - 1)];
  }

  /** Index of the coarsest copy that has at least one pixel for each pixel of the screen, or of the finest. */
  indexFor(scale) {
    let index = this.finest;
    while (scale * 2 ** (index + 1) <= 1 && this.level(index + 1) === this.levels[index + 1]) index += 1;
    return index;
  }
}

function halved({ samples, width, height }) {
  const [columns, rows] = [(width + 1) >> 1, (height + 1) >> 1];
  const out = new Uint16Array(columns * rows);
  for (let row = 0; row < rows; row++) {
    const upper = 2 * row * width;
    const lower = Math.min(2 * row + 1, height - 1) * width;
    const start = row * columns;
    const pairs = width >> 1;
    for (let column = 0, x = 0; column < pairs; column++, x += 2) {
      const sum = samples[upper + x] + samples[upper + x + 1] + samples[lower + x] + samples[lower + x + 1];
      out[start + column] = (sum + 2) >> 2;
    }
    if (width & 1) out[start + pairs] = (samples[upper + width - 1] + samples[lower + width - 1] + 1) >> 1;
  }
  return { samples: out, width: columns, height: rows };
}

/**
 * Grey level for each sample, by the linear window of DICOM PS3.3 C.11.2.1.2.
 *
 * @param {Uint8Array} table one entry for each possible sample; filled
 */
export function fillGrey(table, center, width, isInverted) {
  const span = Math.max(width - 1, 1);
  const flip = isInverted ? 255 : 0;
  for (let sample = 0; sample < table.length; sample++) {
    const share = (sample - (center - 0.5)) / span + 0.5;
    table[sample] = Math.round(255 * Math.min(1, Math.max(0, share))) ^ flip;
  }
  return table;
}
