// Calls of the server's public APIs, with the key that somebody has entered. Errors are in the server's own words.

// The page may live behind a proxy, under a path of its own: everything is beside it.
export const BASE = new URL("../", import.meta.url);
const KEPT = "dragoman-keys";

// What the server has refused, in its words. `lock` is the header it wants a key in, if that is why.
export class Refused extends Error {
  constructor(status, message, lock = null) {
    super(message);
    this.status = status;
    this.lock = lock;
  }
}

// Keys by header, as long as this tab lives.
export function keys() {
  return JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
}

export function setKey(header, secret) {
  const all = keys();
  if (secret) all[header] = secret;
  else delete all[header];
  sessionStorage.setItem(KEPT, JSON.stringify(all));
}

function keyHeaders() {
  const found = Object.entries(keys());
  return Object.fromEntries(found.map(([header, key]) => [header, header === "Authorization" ? `Bearer ${key}` : key]));
}

// The answer, whatever its status. Rejects only when there is none.
export function request(method, path, { body, headers = {}, signal } = {}) {
  const options = { method, headers: { ...keyHeaders(), ...headers }, body, signal, cache: "no-store" };
  return fetch(new URL(path, BASE), options);
}

// The JSON of an answer; throws Refused.
export async function call(method, path, document) {
  const sent = document === undefined ? {} : { body: JSON.stringify(document), headers: { "Content-Type": "application/json" } };
  const answer = await request(method, path, sent);
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

export const get = (path) => call("GET", path);

export async function refusal(answer) {
  const text = await answer.text();
  let message = text.trim() || `${answer.status} ${answer.statusText}`;
  try {
    const said = JSON.parse(text);
    message = said.error ?? said.message ?? message;
  } catch {
    // no JSON: the text is all there is
  }
  return new Refused(answer.status, String(message), lockOf(answer.status, String(message)));
}

function lockOf(status, message) {
  if (status === 401) return "Authorization";
  const named = status === 403 ? /expecting header '([^']+)'/.exec(message) : null;
  return named ? named[1] : null;
}

// A path's parts, each encoded.
export function path(...parts) {
  return parts.map(encodeURIComponent).join("/");
}
