/** The grey part of a radiograph: halved copies, and the table from samples to grey. */

/** A radiograph with copies of half the size each, so that it is drawn at the resolution of the screen. */
export class Picture {
  /** @param {{samples: Uint16Array, width: number, height: number, bits: number}} pixels */
  constructor({ samples, width, height, bits }) {
    if (samples.length !== width * height) throw new Error(`${samples.length} samples, ${width}×${height} expected`);
    this.width = width;
    this.height = height;
    this.bits = bits;
    this.levels = [{ samples, width, height }];
  }

  /** Copy number `index`, of 2 to the power of `index` times coarser pixels. */
  level(index) {
    while (this.levels.length <= index) {
      const last = this.levels.at(-1);
      if (Math.max(last.width, last.height) <= 64) break;
      this.levels.push(halved(last));
    }
    return this.levels[Math.min(index, this.levels.length - 1)];
  }

  /** Index of the coarsest copy that has at least one pixel for each pixel of the screen. */
  indexFor(scale) {
    let index = 0;
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
