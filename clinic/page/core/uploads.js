/** The files that are being added; they go on while another view is open. */

import { api, ApiError } from "./api.js";

const AT_ONCE = 2; // one is sent while the network reads the other
const BUSY = 3000; // milliseconds until a server is asked again that has too many files
const IGNORED = /^(\.|thumbs\.db$|desktop\.ini$)/i; // files that systems put into folders

/**
 * Events: `change` after each file, `row` with a summary in `detail`, `end` with the counts.
 */
class Uploads extends EventTarget {
  constructor() {
    super();
    this.clear();
  }

  clear() {
    this.waiting = [];
    this.total = 0;
    this.done = 0;
    this.failed = 0;
    this.left = 0; // out, after a stop or without a connection
    this.running = 0;
    this.reading = "";
    this.last = null;
  }

  get isRunning() {
    return this.running > 0;
  }

  /** @param {{file: File, name: string}[]} files name with the folders it came from */
  add(files) {
    if (!this.isRunning) this.clear();
    const wanted = files.filter(({ file }) => !IGNORED.test(file.name));
    this.waiting.push(...wanted);
    this.total += wanted.length;
    this.#changed();
    while (this.running < AT_ONCE && this.waiting.length) this.#work();
    return wanted.length;
  }

  stop() {
    this.left += this.waiting.length;
    this.waiting = [];
    this.#changed();
  }

  async #work() {
    this.running += 1;
    for (let next = this.waiting.shift(); next; next = this.waiting.shift()) await this.#send(next);
    this.running -= 1;
    this.#changed();
    if (!this.isRunning) this.dispatchEvent(new Event("end"));
  }

  async #send({ file, name }) {
    this.reading = name;
    this.#changed();
    try {
      this.last = await api.add(file, name);
      this.#row(this.last);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 0 || error.status === 401 || error.id === "error.ending") {
        this.left += 1;
        this.stop();
        this.problem = error;
        return;
      }
      if (error.id === "error.too_busy") {
        await new Promise((resolve) => setTimeout(resolve, BUSY));
        this.waiting.unshift({ file, name });
        return;
      }
      this.failed += 1;
      this.#row(failure(name, error));
    }
    this.done += 1;
    this.#changed();
  }

  #row(summary) {
    this.dispatchEvent(new CustomEvent("row", { detail: summary }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

function failure(name, error) {
  const number = error.body?.number || undefined;
  return { number, time: Date.now() / 1000, file_name: name, origin: "page", failure: error.message, failure_id: error.body?.failure_id, patient_name: "" };
}

export const uploads = new Uploads();

/** Files of a drop, with all files of its folders. */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return chosenFiles(transfer.files);
  const files = [];
  for (const entry of entries) await collect(entry, "", files);
  return files;
}

async function collect(entry, folder, files) {
  const name = folder + entry.name;
  if (entry.isFile) {
    files.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), name });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader hands out at most a hundred entries at a time.
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return;
    for (const inner of part) await collect(inner, `${name}/`, files);
  }
}

/** Files of a file or folder chooser. */
export function chosenFiles(list) {
  return [...list].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
}
