/** Locks the page where the server would: nobody used it, and a patient is on the screen. */

const ACTIONS = ["pointerdown", "keydown", "wheel", "touchstart"];
const PARTS = 4; // of the time, after each of which the server hears that somebody uses the page

/**
 * Calls `lock` once nobody has used the page for as long as the server allows, and `tell` while somebody
 * does: writing an opinion is no request, and the session must not end under it.
 */
export class IdleLock {
  constructor(lock, tell) {
    this.lock = lock;
    this.tell = tell;
    this.seconds = 0;
    for (const action of ACTIONS) window.addEventListener(action, () => this.#used(), { passive: true });
  }

  /** @param {number} seconds 0 for never */
  start(seconds) {
    this.seconds = seconds;
    clearTimeout(this.telling);
    this.telling = 0;
    this.#restart();
  }

  #used() {
    this.#restart();
    if (this.seconds > 0) this.telling ||= setTimeout(() => this.#tell(), (this.seconds * 1000) / PARTS);
  }

  #tell() {
    this.telling = 0;
    this.tell();
  }

  #restart() {
    clearTimeout(this.timer);
    if (this.seconds > 0) this.timer = setTimeout(this.lock, this.seconds * 1000);
  }
}
