// The page: who is logged in, which view is shown, and what every view needs.

import { h, put, say } from "./dom.js";
import { comeBack, logIn, logInAt, logOut, loggedIn, read, session } from "./node.js";
import { functions } from "./views/functions.js";
import { fn } from "./views/function.js";
import { logs } from "./views/logs.js";
import { traces } from "./views/traces.js";
import { triggers } from "./views/triggers.js";
import { audit, node } from "./views/node.js";

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const who = document.getElementById("who");
const out = document.getElementById("log-out");

// Ends everything that the last view began.
let leave = new AbortController();

// Says whether what is shown is current.
export function live(connected) {
  say(document.getElementById("state"), connected ? "live" : "connecting again …");
}

// Shows an error until somebody closes it.
export function alarm(error) {
  if (error.name === "AbortError" || error.status === 401) return;
  const box = h("div", { class: "alert" },
    h("div", {}, h("p", {}, error.message), error.help ? h("p", { class: "dim" }, error.help) : null),
    h("button", { type: "button", "aria-label": "Close", onclick: () => box.remove() }, "×"));
  const alerts = document.getElementById("alerts");
  alerts.append(box);
  while (alerts.children.length > 3) alerts.firstChild.remove();
}

// Asks for a reason, says what will happen, and then does it. Returns whether it was done.
export function confirm({ title, effect, verb, danger, fields = [] }, act) {
  return new Promise((resolve) => {
    const reason = h("textarea", { name: "reason", maxlength: 1000, placeholder: "kept in the history" });
    const failed = h("p", { class: "bad", role: "alert" });
    const submit = h("button", { class: danger ? "danger" : null }, verb);
    const said = h("p", { id: "effect", "aria-live": "polite" });
    const show = () => say(said, typeof effect === "function" ? effect() : effect);
    fields.forEach((field) => field.querySelector("select, input")?.addEventListener("change", show));
    show();
    const dialog = h("dialog", { "aria-labelledby": "confirm-title", "aria-describedby": "effect" },
      h("form", { method: "dialog", onsubmit: async (event) => {
        event.preventDefault();
        submit.disabled = true;
        put(failed);
        try {
          await act(reason.value.trim() || undefined);
          dialog.returnValue = "done";
          dialog.close("done");
        } catch (error) {
          submit.disabled = false;
          put(failed, error.message, error.help ? ` (${error.help})` : "");
        }
      } },
      h("h2", { id: "confirm-title" }, title), fields, said,
      h("label", {}, "Reason", reason), failed,
      h("div", { class: "buttons" }, submit,
        h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"))));
    dialog.addEventListener("close", () => (dialog.remove(), resolve(dialog.returnValue === "done")));
    document.body.append(dialog);
    dialog.showModal();
  });
}

function login(problem) {
  leave.abort();
  leave = new AbortController();
  document.querySelectorAll("dialog").forEach((dialog) => dialog.close(""));
  nav.hidden = out.hidden = true;
  say(who, "");
  say(document.getElementById("state"), "");
  document.title = "Log in – wasm-fn";
  const token = h("input", { type: "password", id: "token", autocomplete: "off", required: true, spellcheck: "false" });
  const failed = h("p", { class: "bad", role: "alert", id: "login-failed" }, problem ? problem.message : "");
  const submit = h("button", {}, "Log in");
  const issuers = h("div", { class: "buttons" });
  const { signal } = leave;
  read("/v1/login", signal).then((offered) => put(issuers, offered.issuers.map(({ issuer }) =>
    h("button", { type: "button", onclick: (event) => {
      event.target.disabled = true;
      logInAt(issuer).catch((error) => {
        say(failed, error.message);
        event.target.disabled = false;
      });
    } }, `Log in at ${issuer}`))), () => {});
  put(main, h("form", { class: "login", onsubmit: async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await logIn(token.value.trim());
      await start();
    } catch (error) {
      say(failed, error.message);
      submit.disabled = false;
      token.focus();
    }
  } },
  h("h1", {}, "Log in"), issuers,
  h("p", { class: "dim" }, "Paste a token of this node once, such as one of ", h("code", {}, "wasm-fn tokens create NAME --role viewer"),
    ". What you see and may do here is what the token may. The session ends after 12 hours, or with the token."),
  h("label", {}, "Token", token), submit, failed));
  token.focus();
}

// The view of the address, and its parameters.
function view() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  const parameters = new URLSearchParams(search);
  if (parts.length === 0) return [functions, "Functions", [parameters]];
  if (parts[0] === "functions" && parts[2] === "logs") return [logs, `Logs of ${parts[1]}`, [parts[1], parameters]];
  if (parts[0] === "functions" && parts[2] === "traces") return [traces, `Traces of ${parts[1]}`, [parts[1], parameters]];
  if (parts[0] === "functions" && parts[2] === "triggers") return [triggers, `Triggers of ${parts[1]}`, [parts[1]]];
  if (parts[0] === "functions" && parts[1]) return [fn, parts[1], [parts[1], parameters]];
  if (parts[0] === "triggers") return [triggers, "Triggers", [undefined]];
  if (parts[0] === "audit") return [audit, "Audit", [parameters]];
  if (parts[0] === "node") return [node, "Node", []];
  return [(main) => put(main, h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "#/" }, "All functions"))), "Not found", []];
}

async function show(moved) {
  leave.abort();
  leave = new AbortController();
  document.querySelectorAll("dialog").forEach((dialog) => dialog.close(""));
  const { signal } = leave;
  const [draw, title, values] = view();
  document.title = `${title} – wasm-fn`;
  for (const link of nav.children) {
    const here = link.getAttribute("href").replace(/^#\/?/, "") === location.hash.replace(/^#\/?/, "").split("/")[0];
    here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  put(main, h("p", { class: "dim" }, "Loading …"));
  if (moved) main.focus({ preventScroll: true });
  try {
    await draw(main, signal, ...values);
  } catch (error) {
    if (signal.aborted || error.status === 401) return;
    put(main, h("h1", {}, title), h("p", { class: "bad", role: "alert" }, error.message), error.help ? h("p", {}, error.help) : null);
  }
}

async function start() {
  const caller = await read("/v1/caller");
  const { name, rights } = caller.token;
  say(who, `${name} (${rights.roles.join(", ")})`);
  nav.hidden = out.hidden = false;
  await show(false);
}

session.over = login;
out.addEventListener("click", async () => {
  await logOut();
  login();
});
addEventListener("hashchange", () => loggedIn() && show(true));
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const filter = document.querySelector("input[type=search]");
  if (filter) {
    event.preventDefault();
    filter.focus();
  }
});
addEventListener("error", (event) => event.error && alarm(event.error));
addEventListener("unhandledrejection", (event) => alarm(event.reason));
comeBack().then(() => (loggedIn() ? start().catch((error) => error.status === 401 || login(error)) : login()), login);
