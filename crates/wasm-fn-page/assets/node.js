// The node's admin API, as this session may use it.
//
// A session has two halves: a cookie that scripts cannot read, and a key. The key is kept for this origin,
// port included; cookies go to every port of the host.

const KEY = "wasm-fn-session-key";

// What a login at an issuer began with, until the issuer has sent the browser back to this window.
const LOGIN = "wasm-fn-login";

// A refusal or a failure, with what the node said.
export class Problem extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the node answered ${status}`);
    this.status = status;
    this.code = problem?.code;
    this.help = problem?.help;
  }
}

// Called when the session is over.
export const session = { over: () => {} };

const key = () => localStorage.getItem(KEY);

export const loggedIn = () => key() !== null;

export const segment = encodeURIComponent;

export const query = (fields) => {
  const wanted = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return wanted.length > 0 ? `?${new URLSearchParams(wanted)}` : "";
};

async function open(method, path, { body, signal, accept } = {}) {
  const headers = { accept: accept ?? "application/json" };
  if (key()) headers["x-wasm-fn-session-key"] = key();
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin", cache: "no-store", redirect: "error",
  });
  if (answer.ok) return answer;
  const problem = new Problem(answer.status, await answer.json().catch(() => null));
  if (answer.status === 401 && path.startsWith("/v1/")) {
    localStorage.removeItem(KEY);
    session.over(problem);
  }
  throw problem;
}

export async function api(method, path, body, signal) {
  const answer = await open(method, path, { body, signal });
  return answer.status === 204 ? null : answer.json();
}

export const read = (path, signal) => api("GET", path, undefined, signal);

export async function logIn(token) {
  const { key } = await api("POST", "/ui/session", { token });
  localStorage.setItem(KEY, key);
}

export async function logInAt(issuer) {
  const { url, state, verifier } = await api("POST", "/ui/login", { issuer });
  sessionStorage.setItem(LOGIN, JSON.stringify({ issuer, state, verifier, place: location.hash }));
  location.assign(url);
}

// Ends a login at an issuer, if one has just sent the browser back.
export async function comeBack() {
  const said = new URLSearchParams(location.search);
  if (!said.has("code") && !said.has("error")) return;
  const begun = JSON.parse(sessionStorage.getItem(LOGIN) ?? "{}");
  sessionStorage.removeItem(LOGIN);
  history.replaceState(null, "", `/ui/${begun.place ?? ""}`);
  if (!begun.state || begun.state !== said.get("state")) {
    throw new Problem(0, { detail: "the issuer answers a login that did not begin in this window, expected its own" });
  }
  if (said.has("error")) {
    throw new Problem(0, { detail: `${begun.issuer} refuses: ${said.get("error_description") ?? said.get("error")}` });
  }
  const { issuer, verifier } = begun;
  const { key } = await api("POST", "/ui/login/code", { issuer, verifier, code: said.get("code") ?? "" });
  localStorage.setItem(KEY, key);
}

export async function logOut() {
  await api("DELETE", "/ui/session").catch(() => {});
  localStorage.removeItem(KEY);
}

// The parts of a body that end in `separator`, as they come.
async function* parts(body, separator) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf(separator)) >= 0) {
      yield text.slice(0, end);
      text = text.slice(end + separator.length);
    }
  }
}

// Resolves once the page is visible, or `signal` is aborted.
const visible = (signal) =>
  new Promise((resolve) => {
    const look = () => {
      if (document.visibilityState !== "visible" && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
    look();
  });

export const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()));
  });

// Follows a stream until `signal` is aborted. A page that nobody sees follows nothing. `begin` is called
// before the first event of each connection, `state` with whether there is one.
async function follow(signal, connect, { begin, state }) {
  let wait = 500;
  while (!signal.aborted) {
    await visible(signal);
    if (signal.aborted) return;
    const connection = new AbortController();
    const end = () => connection.abort();
    const hide = () => document.visibilityState === "hidden" && end();
    signal.addEventListener("abort", end);
    document.addEventListener("visibilitychange", hide);
    try {
      const over = await connect(connection.signal, () => {
        wait = 500;
        begin?.();
        state?.(true);
      });
      if (over) return;
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      // What is refused now is refused again.
      if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
    } finally {
      signal.removeEventListener("abort", end);
      document.removeEventListener("visibilitychange", hide);
    }
    state?.(document.visibilityState === "hidden");
    await pause(wait, signal);
    wait = Math.min(wait * 2, 10_000);
  }
}

// Calls `each`. A fault in it is a fault of the page, and no reason to connect again.
function told(each, event) {
  try {
    return each(event);
  } catch (error) {
    reportError(error);
    return false;
  }
}

// Calls `each` with every event of server-sent events. One for which it returns `true` is the last.
export const events = (path, signal, each, on = {}) =>
  follow(signal, async (signal, begun) => {
    const answer = await open("GET", path, { signal, accept: "text/event-stream" });
    begun();
    for await (const part of parts(answer.body, "\n\n")) {
      if (part.startsWith("data: ") && told(each, JSON.parse(part.slice(6))) === true) return true;
    }
    return false;
  }, on);

// Calls `each` with every line of JSON lines. `path` is asked anew for each connection.
export const lines = (path, signal, each, on = {}) =>
  follow(signal, async (signal, begun) => {
    const answer = await open("GET", path(), { signal, accept: "application/x-ndjson" });
    begun();
    for await (const line of parts(answer.body, "\n")) if (line) told(each, JSON.parse(line));
    return on.once === true;
  }, on);
