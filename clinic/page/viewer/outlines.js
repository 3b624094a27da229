/** What the program outlines as lesions: the dashed lines of the pictures of `predict --overlay`. */

const DASH = [7, 4]; // dash and gap, in widths of the line
const LINE = "#fff";
const RIM = "#000";

/**
 * The closed borders of the lesions as a path, in pixels of the radiograph.
 *
 * @param {Object} finding whose `lesions` are missing where its bundle outlines nothing
 * @returns {Path2D|null} null without any
 */
export function outlinesOf({ lesions }) {
  if (!lesions?.length) return null;
  const path = new Path2D();
  for (const { contour } of lesions) {
    // A contour counts from the centre of the first pixel, a canvas from its corner.
    contour.forEach(([x, y], index) => (index ? path.lineTo(x + 0.5, y + 0.5) : path.moveTo(x + 0.5, y + 0.5)));
    path.closePath();
  }
  return path;
}

/** Draw them as white dashes with a dark rim, `unit` being a pixel of the page. */
export function drawOutlines(context, path, unit) {
  context.save();
  context.lineCap = "butt";
  context.lineJoin = "round";
  for (const [shade, width] of [[RIM, 4], [LINE, 2]]) {
    context.setLineDash(DASH.map((length) => length * 2 * unit));
    context.strokeStyle = shade;
    context.lineWidth = width * unit;
    context.stroke(path);
  }
  context.restore();
}
