/** Who uses the page, and which network answers. */

import { api } from "./api.js";

let current = null;

/** @returns the answer of `GET session`; see the interface */
export const session = () => current;

export async function loadSession() {
  current = await api.session();
}

export async function signIn(user, password) {
  current = await api.signIn(user, password);
}

export async function signOut() {
  await api.signOut();
  await loadSession();
}

export const isSignedIn = () => !current.needs_login;
export const isAlert = (label) => (current.bundle?.alert_labels ?? []).includes(label);
export const mayAnswer = () => ["physician", "administrator"].includes(current.role);
export const mayAdminister = () => current.role === "administrator";
