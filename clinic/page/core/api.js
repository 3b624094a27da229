/** The server's interface, one function for each address. */

const ROOT = "/api/v1/";
let token = "";

/** A refusal by the server, or no answer at all (`status` 0). */
export class ApiError extends Error {
  constructor(message, status, id, body) {
    super(message);
    this.status = status;
    this.id = id;
    this.body = body;
  }
}

async function send(method, path, body, headers = {}, signal = undefined) {
  if (method !== "GET") headers["X-CSRF-Token"] = token;
  let response;
  try {
    response = await fetch(ROOT + path, { method, body, headers, signal });
  } catch (error) {
    throw new ApiError(error.message, 0, "page.offline");
  }
  if (response.ok) return response;
  const refusal = await response.json().catch(() => ({}));
  const isLogin = path === "session" && method === "POST";
  if (response.status === 401 && !isLogin) window.dispatchEvent(new CustomEvent("signed-out"));
  throw new ApiError(refusal.error ?? response.statusText, response.status, refusal.id, refusal);
}

async function json(method, path, value) {
  const body = value === undefined ? undefined : JSON.stringify(value);
  const response = await send(method, path, body, value === undefined ? {} : { "Content-Type": "application/json" });
  return response.status === 204 ? {} : response.json();
}

/** An address with the values that are not empty. */
function address(path, values) {
  const used = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const query = new URLSearchParams(used);
  return used.length ? `${path}?${query}` : path;
}

async function withToken(promise) {
  const session = await promise;
  token = session.csrf ?? token;
  return session;
}

export const api = {
  session: () => withToken(json("GET", "session")),
  signIn: (user, password) => withToken(json("POST", "session", { user, password })),
  signOut: () => json("DELETE", "session"),
  texts: (language) => json("GET", `texts/${language}`),
  findings: (query) => json("GET", address("findings", query)),
  counts: (since) => json("GET", address("counts", { since })),
  finding: (number, language) => json("GET", address(`findings/${number}`, { language })),
  course: (number) => json("GET", `findings/${number}/course`),
  remove: (number) => json("DELETE", `findings/${number}`),
  addOpinion: (number, opinion) => json("POST", `findings/${number}/opinion`, opinion),
  notePrint: (number) => json("POST", `findings/${number}/printed`),
  agreement: () => json("GET", "agreement"),
  backup: () => json("POST", "backup"),
  audit: (before, limit) => json("GET", address("audit", { before, limit })),
  events: () => new EventSource(`${ROOT}events`),
  reportAddress: (number, language, paper, patient) => ROOT + address(`findings/${number}/report.pdf`, { language, paper, patient }),
  opinionsAddress: () => `${ROOT}opinions.csv`,

  /** Send one file; the answer is its row. A bad file is an ApiError with status 422. */
  async add(file, name, signal) {
    const headers = { "Content-Type": "application/octet-stream" };
    const response = await send("POST", address("findings", { name }), file, headers, signal);
    return response.json();
  },

  /**
   * Radiograph as stored: uint16 samples, bone bright, each the mean of `step` by `step` pixels.
   *
   * @param {number} [side] halved for as long as the longer side has so many samples; all without it
   */
  async pixels(number, side) {
    const response = await send("GET", address(`findings/${number}/pixels`, { side }));
    const header = (name) => Number(response.headers.get(name));
    const samples = new Uint16Array(await response.arrayBuffer());
    const [width, height, bits, step] = ["X-Width", "X-Height", "X-Bits", "X-Step"].map(header);
    return { samples, width, height, bits, step };
  },
};
