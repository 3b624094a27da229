/** The catalogue of the chosen language, and numbers and dates as that language writes them. */

import { api } from "./api.js";

let current = { texts: {}, language: "en", direction: "ltr" };

/** A catalogue with the formats of its language. */
export class Texts {
  constructor(language, texts) {
    this.language = language;
    this.texts = texts;
    this.direction = texts.direction ?? "ltr";
    // Digits are the same on the page, on the radiograph and in the report, in every language.
    this.locale = `${language}-u-nu-latn-ca-gregory`;
    this.plural = new Intl.PluralRules(language);
  }

  /** The text of a message with its values put in. */
  text(id, values = {}) {
    let message = this.texts[id];
    if (message === undefined) return id.split(".").pop();
    if (typeof message === "object") message = message[this.plural.select(values.n)] ?? message.other;
    return message.replace(/\{(\w+)\}/g, (all, name) => (name in values ? this.#value(values[name]) : all));
  }

  #value(value) {
    if (typeof value === "number") return this.number(value);
    return this.direction === "rtl" ? `\u2068${value}\u2069` : String(value);
  }

  has(id) {
    return id in this.texts;
  }

  number(value, digits = 0) {
    return new Intl.NumberFormat(this.locale, { maximumFractionDigits: digits }).format(value);
  }

  /** A probability; rounding never makes it look certain. */
  percent(probability) {
    if (probability >= 0.9995) return this.text("number.over", { value: this.share(0.999, 1) });
    if (probability < 0.001) return this.text("number.under", { value: this.share(0.001, 1) });
    return this.share(probability, 1);
  }

  /** A share in percent, which may be 0 or 1. */
  share(value, digits = 0) {
    const format = { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits };
    return new Intl.NumberFormat(this.locale, format).format(value);
  }

  time(seconds) {
    return this.#date(new Date(seconds * 1000), { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  }

  dateTime(seconds) {
    return this.#date(new Date(seconds * 1000), { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
  }

  /** @param {number|string} when seconds, or a date as DICOM (YYYYMMDD) or ISO writes it */
  date(when) {
    const date = typeof when === "number" ? new Date(when * 1000) : parsed(when);
    return date ? this.#date(date, { dateStyle: "medium" }) : String(when);
  }

  #date(date, options) {
    return new Intl.DateTimeFormat(this.locale, options).format(date);
  }

  /** A label at the beginning of a line: the catalogue has it as it is inside a sentence. */
  label(name) {
    return this.#first(this.has(`label.${name}`) ? this.text(`label.${name}`) : name);
  }

  #first(word) {
    return word.charAt(0).toLocaleUpperCase(this.language) + word.slice(1);
  }

  /** Regions of the body with their names, in the order of the alphabet. */
  regions() {
    const ids = Object.keys(this.texts).filter((id) => id.startsWith("region."));
    const pairs = ids.map((id) => [id.slice("region.".length), this.#first(this.text(id))]);
    return pairs.sort(([, first], [, second]) => first.localeCompare(second, this.locale));
  }

  /** Body part and side as a phrase; a part that is not known as the file writes it; empty where it says neither. */
  part({ region, body_part: code, laterality }) {
    const name = region ? this.#first(this.text(`region.${region}`)) : code && this.#value(code);
    const side = this.has(`side.${laterality}`) && this.text(`side.${laterality}`);
    return [name, side].filter(Boolean).join(" · ");
  }
}

function parsed(text) {
  const [, year, month, day] = text.match(/^(\d{4})-?(\d{2})-?(\d{2})/) ?? [];
  if (!year) return null;
  const date = new Date(Number(year), Number(month) - 1, Number(day));
  return Number.isNaN(date.getTime()) ? null : date;
}

/** Load the catalogue of a language without showing it. */
export async function readTexts(language) {
  return new Texts(language, await api.texts(language));
}

/** Load the catalogue of a language and turn the page to it. */
export async function useLanguage(language) {
  current = await readTexts(language);
  document.documentElement.lang = language;
  document.documentElement.dir = current.direction;
}

export const texts = () => current;
export const t = (id, values) => current.text(id, values);
