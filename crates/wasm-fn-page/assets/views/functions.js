// The list of functions: all of them in memory, those in sight in the document.

import { count, h, millis, missing, percent, put, say } from "../dom.js";
import { events, query, read, segment } from "../node.js";
import { spark } from "../charts.js";
import { live } from "../page.js";

const HEIGHT = 40;
const REFRESH_MS = 10_000;

const sorts = {
  name: (a, b) => (a.name < b.name ? -1 : 1),
  rollout: (a, b) => rank(b) - rank(a) || sorts.name(a, b),
  requests: (a, b) => b.requests - a.requests || sorts.name(a, b),
  errors: (a, b) => share(b) - share(a) || b.failures - a.failures || sorts.name(a, b),
  latency: (a, b) => (b.latency ?? 0) - (a.latency ?? 0) || sorts.name(a, b),
};
const rank = (row) => row.summary.stages.filter((stage) => stage.canary).length;
const share = (row) => (row.requests > 0 ? row.failures / row.requests : 0);

export async function functions(main, signal, parameters) {
  const rows = new Map();
  const minutes = new Map();
  let order = [];
  let sort = sorts[parameters.get("sort")] ? parameters.get("sort") : "name";
  let shown = [];

  const filter = h("input", { type: "search", placeholder: "press / to filter", oninput: () => arrange(), value: parameters.get("filter") ?? "" });
  const rollouts = h("input", { type: "checkbox", onchange: () => arrange() });
  const found = h("p", { role: "status", class: "dim" });
  const away = h("p", { role: "status", class: "bad" });
  const body = h("div", { class: "rows", role: "rowgroup" });
  const columns = [["name", "Function"], ["rollout", "Traffic"], ["requests", "Requests"], ["errors", "Errors"], ["latency", "p99"]];
  const heads = columns.map(([key, text]) => h("div", { role: "columnheader", "aria-sort": "none" },
    h("button", { type: "button", onclick: () => ((sort = key), arrange()) }, text)));
  const list = h("div", { class: "list", role: "table", "aria-label": "Functions", tabindex: 0, onscroll: () => draw() },
    h("div", { role: "rowgroup" }, h("div", { class: "frow head", role: "row" }, heads, h("div", { role: "columnheader" }, "Last hour"))), body);
  put(main, h("h1", {}, "Functions"),
    h("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
      h("label", {}, "Filter", filter), h("label", { class: "row" }, rollouts, "only with a rollout")), found, away, list);

  // Sorts and filters anew. With thousands of functions that takes milliseconds, so not at every event.
  function arrange() {
    const wanted = filter.value.trim().toLowerCase();
    order = [...rows.values()].filter((row) => row.name.includes(wanted) && (!rollouts.checked || rank(row) > 0)).sort(sorts[sort]);
    heads.forEach((head, at) => {
      const key = columns[at][0];
      head.setAttribute("aria-sort", key !== sort ? "none" : key === "name" ? "ascending" : "descending");
    });
    say(found, order.length === rows.size ? `${rows.size} functions` : `${order.length} of ${rows.size} functions`);
    list.setAttribute("aria-rowcount", order.length + 1);
    body.style.height = `${Math.max(1, order.length) * HEIGHT}px`;
    draw();
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 4);
    shown = order.slice(first, first + Math.ceil(list.clientHeight / HEIGHT) + 8);
    const focused = document.activeElement?.closest?.(".frow")?.dataset.name;
    put(body, shown.map((row, at) => {
      const element = line(row, minutes.get(row.name), first + at + 2);
      element.style.transform = `translateY(${(first + at) * HEIGHT}px)`;
      return element;
    }));
    if (focused) [...body.children].find((row) => row.dataset.name === focused)?.querySelector("a")?.focus({ preventScroll: true });
    refresh();
  }

  // Asks for the last hour of those in sight, once in ten seconds each.
  let asking = false;
  async function refresh() {
    const stale = performance.now() - REFRESH_MS;
    const names = shown.map((row) => row.name).filter((name) => !(minutes.get(name)?.at > stale)).slice(0, 100);
    if (asking || names.length === 0) return;
    asking = true;
    try {
      const found = await read(`/v1/series${query({ functions: names.join(",") })}`, signal);
      names.forEach((name) => minutes.set(name, { at: performance.now() }));
      found.functions.forEach((hour) => minutes.set(hour.function, { at: performance.now(), hour }));
      if (!signal.aborted) draw();
    } finally {
      asking = false;
    }
  }

  // The first time at once.
  const arranged = { at: -Infinity, timer: null };
  const later = () => {
    if (arranged.timer || signal.aborted) return;
    arranged.timer = setTimeout(() => {
      arranged.timer = null;
      arranged.at = performance.now();
      if (!signal.aborted) arrange();
    }, Math.max(0, arranged.at + 2000 - performance.now()));
  };

  await events("/v1/watch", signal, (changes) => {
    if (changes.nodes) say(away, missing(changes.nodes));
    for (const summary of changes.functions ?? []) {
      const row = rows.get(summary.function) ?? { name: summary.function };
      row.summary = summary;
      row.numbers = new Map(summary.stages.map((stage) => [stage.stage, { ...row.numbers?.get(stage.stage), ...stage }]));
      rows.set(row.name, add(row));
    }
    for (const name of changes.removed ?? []) rows.delete(name);
    for (const stage of changes.traffic ?? []) {
      const row = rows.get(stage.function);
      if (!row) continue;
      row.numbers.set(stage.stage, { ...row.numbers.get(stage.stage), ...stage });
      add(row);
    }
    if (!changes.more) later();
  }, { state: live, begin: () => rows.clear() });
}

// Adds the stages up.
function add(row) {
  row.requests = row.failures = 0;
  row.latency = undefined;
  for (const stage of row.numbers.values()) {
    row.requests += stage.requests;
    row.failures += stage.failures;
    if (stage.latency_p99_ms !== undefined) row.latency = Math.max(row.latency ?? 0, stage.latency_p99_ms);
  }
  return row;
}

function line(row, minutes, number) {
  const stages = row.summary.stages.map((stage) =>
    h("span", {}, stage.stage === "live" ? "" : `${stage.stage}: `,
      stage.canary
        ? h("span", { class: "canary" }, `${stage.canary} ${stage.split.find((part) => part.version === stage.canary)?.weight ?? "0%"} beside ${stage.stable}`)
        : stage.stable, " "));
  const cell = (...content) => h("div", { role: "cell" }, content);
  return h("div", { class: "frow", role: "row", "aria-rowindex": number, "data-name": row.name },
    cell(h("a", { href: `#/functions/${segment(row.name)}` }, row.name)), cell(stages), cell(count(row.requests)),
    h("div", { role: "cell", class: row.failures > 0 ? "bad" : null }, row.requests > 0 ? percent(share(row)) : "–"),
    cell(millis(row.latency)), cell(minutes?.hour ? spark(minutes.hour.requests, minutes.hour.failures) : ""));
}
