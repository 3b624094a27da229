/** Locks the page where the server would: nobody used it, and a patient is on the screen. */

const ACTIONS = ["pointerdown", "keydown", "wheel", "touchstart"];

/** Calls `lock` once nobody has used the page for as long as the server allows. */
export class IdleLock {
  constructor(lock) {
    this.lock = lock;
    this.seconds = 0;
    for (const action of ACTIONS) window.addEventListener(action, () => this.#restart(), { passive: true });
  }

  /** @param {number} seconds 0 for never */
  start(seconds) {
    this.seconds = seconds;
    this.#restart();
  }

  #restart() {
    clearTimeout(this.timer);
    if (this.seconds > 0) this.timer = setTimeout(this.lock, this.seconds * 1000);
  }
}
