/** What a person chose on this device: language, theme, paper and reader of the words. */

const DEFAULTS = { language: "", theme: "system", paper: "a4", reader: "operator" };

/** @param {keyof typeof DEFAULTS} name */
export function preference(name) {
  try {
    return localStorage.getItem(`orthoedge.${name}`) ?? DEFAULTS[name];
  } catch {
    return DEFAULTS[name]; // storage is switched off
  }
}

/**
 * @param {keyof typeof DEFAULTS} name
 * @param {string} value
 */
export function setPreference(name, value) {
  try {
    localStorage.setItem(`orthoedge.${name}`, value);
  } catch {
    // It then holds until the page is left.
  }
  if (name === "theme") window.applyTheme(value); // of theme.js
}
