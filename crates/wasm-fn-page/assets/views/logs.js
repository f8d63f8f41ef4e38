// The log of a function: filtered by the node, followed while somebody looks.

import { h, put, say } from "../dom.js";
import { lines, query, segment } from "../node.js";
import { live } from "../page.js";

const LINES_MAX = 2000;

export async function logs(main, signal, name, parameters) {
  const field = (label, key, placeholder, pattern) =>
    h("label", {}, label, h("input", { name: key, value: parameters.get(key) ?? "", placeholder, pattern, autocomplete: "off" }));
  const follow = h("input", { type: "checkbox", name: "follow", checked: parameters.get("request") === null });
  const list = h("div", { class: "log", role: "log", tabindex: 0, "aria-label": `Log of ${name}` });
  const found = h("p", { role: "status", class: "dim" });
  const failed = h("p", { class: "bad", role: "alert" });
  let reading = new AbortController();
  signal.addEventListener("abort", () => reading.abort());
  const form = h("form", { class: "filters", onsubmit: (event) => (event.preventDefault(), begin()) },
    field("Stage", "stage", "all"), field("Version", "version", "v2, canary"), field("Status", "status", "error, 500"),
    field("Request", "request", "id of a request"), h("label", { class: "row" }, follow, "follow"), h("button", {}, "Show"));
  put(main, h("h1", {}, "Logs of ", h("a", { href: `#/functions/${segment(name)}` }, name)), form, found, failed, list);
  follow.addEventListener("change", () => begin());

  async function begin() {
    reading.abort();
    reading = new AbortController();
    const { signal } = reading;
    const fields = Object.fromEntries(["stage", "version", "status", "request"].map((key) => [key, form.elements[key].value.trim()]));
    put(list);
    put(failed);
    let [shown, lost, after] = [0, 0, 0];
    let waiting = [];
    let frame = 0;
    const draw = () => {
      frame = 0;
      const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 30;
      list.append(...waiting.splice(0));
      while (list.children.length > LINES_MAX) list.firstChild.remove();
      if (atEnd) list.scrollTop = list.scrollHeight;
      say(found, `${shown} lines${shown > LINES_MAX ? `, the last ${LINES_MAX} shown` : ""}${lost > 0 ? `; ${lost} lines were dropped before` : ""}`);
    };
    const path = () => `/v1/functions/${segment(name)}/logs${query({ ...fields, follow: follow.checked || undefined, after: after || undefined })}`;
    say(found, "0 lines");
    try {
      await lines(path, signal, (event) => {
        if (event.event === "lost") lost += event.lines;
        else {
          after = event.seq;
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

const line = (event) =>
  h("p", { class: event.failed ? "bad" : null },
    h("span", { class: "dim" }, `${new Date(event.at_ms).toLocaleTimeString()} ${event.version} ${event.stream} ${event.request_id.slice(0, 8)} `),
    event.request ? `${event.request.method} ${event.request.path} ${Math.round(event.request.duration_ms)} ms: ` : "",
    event.status ? `[${event.status}] ` : "", event.text);
