// The API, as the pages use it: JSON, problem documents (RFC 9457), ETags, the login's CSRF token.

export const root = document.documentElement.dataset.root ?? "";

/** What the service refused, in its own words; `errors` name fields (RFC 9457 extension), where it says more of them. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `the service answers ${status}`);
    this.status = status;
    this.body = body;
    this.errors = body.errors ?? [];
  }
}

/** Nothing answers: the service is away, or the network. */
export class Away extends Error {}

const kept = new Map(); // path → [ETag, body]
let csrf = null;

/** Tells this module what the login has given. */
export function useCsrf(token) {
  csrf = token;
}

/** The token that a request by the login's cookie has to show if it changes something; null where no login is needed. */
export const csrfToken = () => csrf;

/** A GET, or another method with a JSON body. Returns the JSON, or null where there is none. Throws Problem, Away. */
export async function ask(path, { method = "GET", body, form, signal, headers = {} } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (method !== "GET" && csrf) sent["X-CSRF-Token"] = csrf;
  const known = method === "GET" ? kept.get(path) : undefined;
  if (known) sent["If-None-Match"] = known[0];
  let answer;
  try {
    answer = await fetch(root + path, { method, signal, headers: sent, credentials: "same-origin", body: form ?? (body === undefined ? undefined : JSON.stringify(body)) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Away(method === "GET" ? "The service does not answer. It is asked again." : "The service does not answer. Try it again in a moment.");
  }
  if (answer.status === 304 && known) return known[1];
  if (answer.status === 401 && path !== "/session") document.dispatchEvent(new CustomEvent("logged-out"));
  const found = await read(answer);
  if (!answer.ok) throw new Problem(answer.status, found ?? {});
  const tag = answer.headers.get("ETag");
  if (method === "GET" && tag) remember(path, tag, found);
  return found;
}

/** A POST that is done once, however often it is sent: the same key stands for the same wish. */
export function post(path, body, key = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2)) {
  return ask(path, { method: "POST", body, headers: { "Idempotency-Key": key } });
}

async function read(answer) {
  const kind = answer.headers.get("Content-Type") ?? "";
  if (answer.status === 204) return null;
  if (!kind.includes("json")) return { detail: (await answer.text()).slice(0, 300) };
  try {
    return await answer.json();
  } catch {
    return null;
  }
}

function remember(path, tag, body) {
  kept.delete(path);
  kept.set(path, [tag, body]);
  if (kept.size > 50) kept.delete(kept.keys().next().value);
}
