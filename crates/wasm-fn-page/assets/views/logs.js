// The log of a function: filtered by the node, followed while somebody looks.

import { h, put, say } from "../dom.js";
import { lines, query, read, segment } from "../node.js";
import { live } from "../page.js";

const LINES_MAX = 2000;

// After a break, lines are asked for from so long before the last one on: clocks of nodes differ.
const OVERLAP_MS = 60_000;

export async function logs(main, signal, name, parameters) {
  const field = (label, key, placeholder, pattern) =>
    h("label", {}, label, h("input", { name: key, value: parameters.get(key) ?? "", placeholder, pattern, autocomplete: "off" }));
  const follow = h("input", { type: "checkbox", name: "follow", checked: parameters.get("request") === null });
  // A node that is alone has no choice of nodes.
  const node = h("select", { name: "node" }, h("option", { value: "" }, "all"));
  const choice = h("label", { hidden: true }, "Node", node);
  const list = h("div", { class: "log", role: "log", tabindex: 0, "aria-label": `Log of ${name}` });
  const found = h("p", { role: "status", class: "dim" });
  const failed = h("p", { class: "bad", role: "alert" });
  let reading = new AbortController();
  signal.addEventListener("abort", () => reading.abort());
  const form = h("form", { class: "filters", onsubmit: (event) => (event.preventDefault(), begin()) },
    field("Stage", "stage", "all"), field("Version", "version", "v2, canary"), field("Status", "status", "error, 500"),
    field("Request", "request", "id of a request"), choice, h("label", { class: "row" }, follow, "follow"), h("button", {}, "Show"));
  put(main, h("h1", {}, "Logs of ", h("a", { href: `#/functions/${segment(name)}` }, name)), form, found, failed, list);
  follow.addEventListener("change", () => begin());
  node.addEventListener("change", () => begin());
  const cluster = await read("/v1/cluster", signal).catch((error) => {
    if (signal.aborted) throw error;
    return null;
  });
  if (cluster) {
    const names = [...new Set(cluster.nodes.map((found) => found.name))];
    node.append(...names.map((name) => h("option", { value: name }, name)));
    node.value = names.includes(parameters.get("node")) ? parameters.get("node") : "";
    choice.hidden = false;
  }

  async function begin() {
    reading.abort();
    reading = new AbortController();
    const { signal } = reading;
    const fields = Object.fromEntries(["stage", "version", "status", "request", "node"].map((key) => [key, form.elements[key].value.trim()]));
    put(list);
    put(failed);
    let [shown, lost, since] = [0, 0, 0];
    // Each node numbers its own lines, so those that come again after a break are told apart by node.
    const seen = new Map();
    const away = new Map();
    let waiting = [];
    let frame = 0;
    const draw = () => {
      frame = 0;
      const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 30;
      list.append(...waiting.splice(0));
      while (list.children.length > LINES_MAX) list.firstChild.remove();
      if (atEnd) list.scrollTop = list.scrollHeight;
      say(found, `${shown} lines${shown > LINES_MAX ? `, the last ${LINES_MAX} shown` : ""}${lost > 0 ? `; ${lost} lines were dropped before` : ""}`);
      say(failed, [...away].map(([name, reason]) => `Node ${name} is missing: ${reason}.`).join(" "));
    };
    const path = () => `/v1/functions/${segment(name)}/logs${query({ ...fields, follow: follow.checked || undefined, since_ms: since || undefined })}`;
    say(found, "0 lines");
    try {
      await lines(path, signal, (event) => {
        if (event.event === "lost") lost += event.lines;
        else if (event.event === "missing") away.set(event.node, event.reason);
        else if (event.event === "back") away.delete(event.node);
        else if (isNew(seen.get(event.node), event)) {
          seen.set(event.node, event);
          since = Math.max(since, event.at_ms - OVERLAP_MS);
          shown += 1;
          waiting.push(line(event));
          if (waiting.length > LINES_MAX) waiting = waiting.slice(-LINES_MAX);
        }
        // One drawing for all that comes within a frame; timers also run where nothing is drawn.
        frame ||= setTimeout(draw, 50);
      }, { state: live, once: !follow.checked });
    } catch (error) {
      if (!signal.aborted) say(failed, error.message);
    }
  }
  await begin();
}

// A node that has started again numbers from 1.
const isNew = (last, event) => !last || event.seq > last.seq || event.at_ms > last.at_ms;

const line = (event) =>
  h("p", { class: event.failed ? "bad" : null },
    h("span", { class: "dim" }, `${new Date(event.at_ms).toLocaleTimeString()} ${event.node ? `${event.node} ` : ""}${event.version} ${event.stream} ${event.request_id.slice(0, 8)} `),
    event.request ? `${event.request.method} ${event.request.path} ${Math.round(event.request.duration_ms)} ms: ` : "",
    event.status ? `[${event.status}] ` : "", event.text);
