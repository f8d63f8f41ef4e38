// Traces of a function: of requests that failed, and of the slowest ones, with the parts of the work on each.

import { h, millis, missing, put, svg, time } from "../dom.js";
import { events, query, read, segment } from "../node.js";
import { live } from "../page.js";

// How often the traces are read again while the function changes, milliseconds.
const AGAIN_MS = 3000;

export async function traces(main, signal, name, parameters) {
  const path = `/v1/functions/${segment(name)}`;
  const found = h("div", {});
  put(main, h("h1", {}, "Traces of ", h("a", { href: `#/functions/${segment(name)}` }, name)), found);
  const shown = new Map();
  const show = async () => {
    const { traced, traces, nodes } = await read(`${path}/traces${query({ stage: parameters.get("stage"), node: parameters.get("node") })}`, signal);
    // What is open stays as it is.
    for (const id of shown.keys()) if (!traces.some((trace) => trace.request_id === id)) shown.delete(id);
    for (const trace of traces) if (!shown.has(trace.request_id)) shown.set(trace.request_id, one(name, trace));
    const list = (title, none, of) => [h("h2", {}, title), of.length > 0 ? of.map((trace) => shown.get(trace.request_id)) : h("p", {}, none)];
    const away = missing(nodes);
    put(found, away ? h("p", { class: "bad" }, away) : null,
      traced ? null : h("p", {}, "This node traces no requests. ", h("code", {}, "traces = \"1%\""), " in ", h("code", {}, "[serve]"),
        " keeps the traces of a share of them, and a collector of OpenTelemetry gets them all."),
      list("Failed", "No request that was traced has failed.", traces.filter((trace) => trace.failed)),
      list("Slowest in the last hour", "No request was traced in the last hour.", traces.filter((trace) => !trace.failed)));
  };
  await show();
  let read_ms = Date.now();
  let waiting = false;
  await events(`${path}/watch`, signal, (event) => {
    if (event.event === "deleted") return true;
    if (waiting) return false;
    waiting = true;
    setTimeout(async () => {
      try {
        await show();
      } catch (error) {
        if (!signal.aborted) throw error;
      } finally {
        read_ms = Date.now();
        waiting = false;
      }
    }, Math.max(0, read_ms + AGAIN_MS - Date.now()));
    return false;
  }, { state: live });
}

// One trace, of which the parts are shown when somebody opens it.
function one(name, trace) {
  const parts = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Parts of request ${trace.request_id.slice(0, 8)}` });
  const said = [trace.version, trace.status, trace.outcome].filter(Boolean).join(" ");
  const element = h("details", { class: "card" },
    h("summary", {}, h("strong", { class: trace.failed ? "bad" : null }, `${millis(trace.duration_ms)} `),
      `${trace.method} ${trace.path} `, h("span", { class: "dim" }, `${said}, ${trace.stage}, `, trace.node ? `${trace.node}, ` : "", time(trace.at_ms))),
    h("p", {}, "Request ", h("a", { href: `#/functions/${segment(name)}/logs?request=${trace.request_id}` }, trace.request_id),
      ", trace ", h("code", {}, trace.trace_id)), parts);
  element.addEventListener("toggle", () => {
    if (element.open) put(parts, waterfall(trace));
  });
  return element;
}

function waterfall(trace) {
  const whole = Math.max(trace.duration_ms, 0.001);
  const row = (name, from, took, said, failed) => h("tr", {},
    h("td", { class: failed ? "bad" : null }, name, said ? h("span", { class: "dim" }, ` ${said}`) : null),
    h("td", { class: "n" }, millis(took)),
    h("td", {}, svg("svg", { class: "bar", viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { x: ((from / whole) * 1000).toFixed(1), y: 1, height: 8, width: Math.max(2, (took / whole) * 1000).toFixed(1), class: failed ? "failed" : "all" }))));
  return h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Part"), h("th", { scope: "col", class: "n" }, "Took"), h("th", { scope: "col" }, "When"))),
    h("tbody", {}, row("request", 0, trace.duration_ms, "", trace.failed),
      trace.spans.map((span) => row(span.name, span.from_ms, span.duration_ms, [span.version, span.error].filter(Boolean).join(": "), span.error))));
}
