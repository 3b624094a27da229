/** What mouse, touch, wheel and keys do to a viewer. */

const KEY_STEP = 24; // pixels of the page, of one press on an arrow key
const WINDOW_STEP = 0.02; // of the range of samples, of one such press

export class Pointers {
  /** @param {Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.down = new Map(); // pointers on the canvas, by number
    const { canvas } = viewer;
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.#release(event));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("dblclick", () => viewer.fit());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.#hideCursor());
  }

  #point(event) {
    const { canvas } = this.viewer;
    const box = canvas.getBoundingClientRect();
    const ratio = canvas.width / box.width;
    return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
  }

  #press(event) {
    const { viewer } = this;
    viewer.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, this.#point(event));
    this.tool = event.button === 0 ? viewer.tool : "pan";
    if (this.tool === "ruler" && this.down.size === 1) {
      const place = viewer.placeAt(this.#point(event));
      this.earlier = viewer.ruler;
      viewer.ruler = { from: place, to: place };
    }
    if (this.down.size === 2 && this.tool === "ruler") viewer.ruler = this.earlier; // it was a pinch
  }

  #move(event) {
    const last = this.down.get(event.pointerId);
    if (!last) return;
    const point = this.#point(event);
    if (this.down.size === 1) this.#drag(last, point);
    else this.#pinch(event.pointerId, last, point);
    this.down.set(event.pointerId, point);
  }

  #drag(last, point) {
    const { viewer } = this;
    const [dx, dy] = [point.x - last.x, point.y - last.y];
    if (this.tool === "pan") viewer.panBy(dx, dy);
    else if (this.tool === "ruler") {
      viewer.ruler.to = viewer.placeAt(point);
      viewer.draw();
    } else {
      const { center, width } = viewer.window;
      const sensitivity = Math.max(width, 2 ** viewer.picture.bits / 64) / viewer.canvas.height;
      viewer.setWindow(center + dy * sensitivity, width - dx * sensitivity * 1.5);
    }
  }

  #pinch(id, last, point) {
    const { viewer } = this;
    const [[, other]] = [...this.down].filter(([number]) => number !== id);
    const before = Math.hypot(last.x - other.x, last.y - other.y);
    const after = Math.hypot(point.x - other.x, point.y - other.y);
    viewer.panBy((point.x - last.x) / 2, (point.y - last.y) / 2);
    if (before > 0) viewer.zoomBy(after / before, { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 });
  }

  #release(event) {
    const { viewer } = this;
    if (!this.down.delete(event.pointerId) || this.tool !== "ruler" || this.down.size) return;
    const { from, to } = viewer.ruler ?? {};
    if (from && Math.hypot(to.x - from.x, to.y - from.y) * viewer.scale < 4) viewer.ruler = null; // a tap
    viewer.draw();
    viewer.dispatchEvent(new Event("measure"));
  }

  #wheel(event) {
    event.preventDefault();
    this.viewer.zoomBy(Math.exp(-event.deltaY / 400), this.#point(event));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { viewer } = this;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const other = { "+": () => viewer.zoomIn(), "=": () => viewer.zoomIn(), "-": () => viewer.zoomOut(), 0: () => viewer.fit() }[event.key];
    if (arrow) this.#arrow(...arrow, event.shiftKey);
    else if (other) other();
    else if (event.key === "Enter" && viewer.tool === "ruler") this.#setPoint();
    else return;
    event.preventDefault();
  }

  #arrow(x, y, isFine) {
    const { viewer } = this;
    if (viewer.tool === "pan") return viewer.panBy(-x * KEY_STEP, -y * KEY_STEP);
    if (viewer.tool === "ruler") {
      const step = (isFine ? 1 : 8) / viewer.scale;
      viewer.cursor ??= { x: viewer.picture.width / 2, y: viewer.picture.height / 2 };
      const { x: across, y: down } = new DOMMatrix().rotate(-90 * viewer.rotation).transformPoint({ x, y });
      viewer.cursor = { x: viewer.cursor.x + across * step, y: viewer.cursor.y + down * step };
      if (this.isMeasuring) viewer.ruler.to = viewer.cursor;
      return viewer.draw();
    }
    const step = 2 ** viewer.picture.bits * WINDOW_STEP;
    return viewer.setWindow(viewer.window.center + y * step, viewer.window.width - x * step);
  }

  /** Begin or end a length at the cross that the arrow keys move. */
  #setPoint() {
    const { viewer } = this;
    viewer.cursor ??= { x: viewer.picture.width / 2, y: viewer.picture.height / 2 };
    if (this.isMeasuring) viewer.dispatchEvent(new Event("measure"));
    else viewer.ruler = { from: viewer.cursor, to: viewer.cursor };
    this.isMeasuring = !this.isMeasuring;
    viewer.draw();
  }

  #hideCursor() {
    this.isMeasuring = false;
    this.viewer.cursor = null;
    this.viewer.draw();
  }
}
