// One function: its stages with split, rollout, routes and numbers; versions and what differs between two.

import { bytes, count, h, millis, missing, percent, put, say, table, time } from "../dom.js";
import { events, read, segment } from "../node.js";
import { chart } from "../charts.js";
import { live } from "../page.js";
import { rollout } from "./rollout.js";

const COLORS = ["stable", "canary", "good", "wait", "dim"];

export async function fn(main, signal, name, parameters) {
  const path = `/v1/functions/${segment(name)}`;
  const stages = h("div", {});
  const proposals = h("div", {});
  const curves = h("div", { class: "pair" });
  const versions = h("div", {});
  const history = h("div", {});
  const gone = h("p", { role: "status" });
  const away = h("p", { role: "status", class: "bad" });
  put(main, h("h1", {}, name),
    h("nav", { "aria-label": name },
      h("a", { href: `#/functions/${segment(name)}/logs` }, "Logs"), h("a", { href: `#/functions/${segment(name)}/traces` }, "Traces"), h("a", { href: `#/functions/${segment(name)}/triggers` }, "Triggers"),
      h("a", { href: `#/audit?function=${segment(name)}` }, "Audit")),
    gone, away, proposals, stages, h("h2", {}, "Last hour"), curves, h("h2", {}, "Versions"), versions, h("h2", {}, "History"), history);

  const parts = new Map();
  let revision = -1;
  const series = await read(`${path}/series`, signal);
  await Promise.all([
    events(`${path}/watch`, signal, (event) => {
      if (event.event === "deleted") {
        say(gone, "This function was deleted.");
        return true;
      }
      const { status } = event;
      say(away, missing(status.nodes));
      for (const stage of status.stages) {
        let part = parts.get(stage.stage);
        if (!part) {
          part = stageOf(name, stage.stage, series, signal);
          parts.set(stage.stage, part);
          stages.append(part.element);
        }
        part.show(status, stage);
      }
      for (const [stage, part] of parts) {
        if (status.stages.some((found) => found.stage === stage)) continue;
        part.element.remove();
        parts.delete(stage);
      }
      if (status.revision !== revision) {
        revision = status.revision;
        put(proposals, (status.proposals ?? []).map((proposal) => h("div", { class: "card" },
          h("strong", {}, `${proposal.version} waits for approval in ${proposal.stage}: ${proposal.approvals.length} of ${proposal.approvers}. `),
          `Proposed by ${proposal.author}${proposal.message ? `: ${proposal.message}` : ""}. `,
          h("code", {}, `wasm-fn approve ${name} -s ${proposal.stage}`))));
        showVersions(versions, path, signal, parameters);
        showHistory(history, path, signal);
      }
      return false;
    }, { state: live }),
    showCurves(curves, series, path, signal),
  ]);
}

function stageOf(name, stage, series, signal) {
  const numbers = h("div", {});
  const facts = h("p", { class: "dim" });
  const part = rollout(name, stage, series.rollouts.find((course) => course.stage === stage), signal);
  const element = h("section", { "aria-label": `Stage ${stage}` }, h("h2", {}, `Stage ${stage}`), part.element, facts, numbers);
  return {
    element,
    show(status, found) {
      part.show(status, found);
      put(facts, found.routes.length > 0 ? ["Routes: ", found.routes.map((route) => [h("code", {}, route), " "])] : "No routes. ",
        `Sticky: ${found.sticky}. `, found.previous ? `Rollback goes to ${found.previous}.` : "");
      // In a cluster, each version has a row for all nodes together, and one for each.
      const cluster = found.versions.some((version) => version.nodes?.length > 0);
      const row = (version, role, share, node, tally) => [version, role, share, ...(cluster ? [node] : []),
        count(tally.requests), h("span", { class: tally.failures > 0 ? "bad" : null },
          tally.requests > 0 ? `${count(tally.failures)} (${percent(tally.failures / tally.requests)})` : "0"),
        millis(tally.latency_p50_ms), millis(tally.latency_p99_ms), bytes(tally.memory_peak_bytes)];
      put(numbers, table(`Versions in ${stage}`,
        ["Version", "Role", ["Share"], ...(cluster ? ["Node"] : []), ["Requests"], ["Failures"], ["p50"], ["p99"], ["Memory"]],
        found.versions.flatMap((version) => [
          row(h("strong", { class: version.role === "canary" ? "canary" : null }, version.version), version.role ?? "", version.weight, "all", version.tally),
          ...(version.nodes ?? []).map((of) => row("", "", "", h("span", { class: "dim" }, of.node), of.tally)),
        ])));
    },
  };
}

async function showCurves(box, first, path, signal) {
  let series = first;
  const names = [...new Set(series.versions.map((version) => `${version.version} in ${version.stage}`))].slice(-5);
  const curves = names.map((label, at) => ({ label, color: COLORS[at % COLORS.length] }));
  if (curves.length === 0) {
    put(box, h("p", { class: "dim" }, "No requests in the last hour."));
    return;
  }
  const charts = [
    chart("Requests a second", curves, (value) => count(Math.round(value * 10) / 10), { signal }),
    chart("Errors", curves, percent, { signal }),
    chart("Latency, p99", curves, millis, { signal }),
  ];
  put(box, charts.map((each) => each.element));
  const values = [
    (version, at) => version.requests[at] / (series.step_ms / 1000),
    (version, at) => version.failures[at] / version.requests[at],
    (version, at) => version.latency_p99_ms[at],
  ];
  for (;;) {
    const steps = Array.from({ length: 360 }, (_, at) => series.now_ms - (360 - at) * series.step_ms);
    charts.forEach((each, which) => each.set([steps.map((ms) => ms / 1000), ...names.map((label) => {
      const version = series.versions.find((version) => `${version.version} in ${version.stage}` === label);
      const known = new Map(version?.at_ms.map((ms, at) => [ms, at]));
      return steps.map((ms) => (known.has(ms) ? values[which](version, known.get(ms)) : which === 0 ? 0 : null));
    })]));
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 10_000);
      signal.addEventListener("abort", () => (clearTimeout(timer), resolve()));
    });
    if (signal.aborted) return;
    if (document.visibilityState === "visible") series = await read(`${path}/series`, signal);
  }
}

async function showVersions(box, path, signal, parameters) {
  const { versions } = await read(`${path}/versions?limit=50`, signal);
  const diff = h("div", { "aria-live": "polite" });
  const choice = (label, at) => {
    const select = h("select", { onchange: compare }, versions.map((version) => h("option", {}, version.version)));
    select.selectedIndex = Math.min(at, versions.length - 1);
    return [select, h("label", {}, label, select)];
  };
  const [old, oldLabel] = choice("Compare", Math.max(1, versions.findIndex((version) => version.version === parameters.get("from"))));
  const [young, youngLabel] = choice("with", 0);
  function compare() {
    const [a, b] = [versions[old.selectedIndex], versions[young.selectedIndex]];
    const [before, after] = [flat(a), flat(b)];
    const keys = [...new Set([...before.keys(), ...after.keys()])].filter((key) => before.get(key) !== after.get(key)).sort(byCapability);
    put(diff, keys.length === 0
      ? h("p", {}, `${a.version} and ${b.version} have the same component, configuration and capabilities.`)
      : table(`What differs between ${a.version} and ${b.version}`, ["Setting", a.version, b.version],
        keys.map((key) => [h("code", {}, key), text(before.get(key)), text(after.get(key))])));
  }
  put(box, table("Versions", ["Version", "Where", "Created", "By", "Component", "Why"], versions.map((version) => [
    h("strong", {}, version.version),
    version.stages.map((place) => `${place.stage} ${place.weight}${place.role ? ` (${place.role})` : ""}`).join(", "),
    time(version.created_ms), version.created_by, [h("code", { title: version.component }, version.component.slice(0, 12)), ` ${version.kind}`],
    [version.message ?? "", version.verdict ? h("span", { class: "bad" }, ` ${version.verdict.verdict} in ${version.verdict.stage}: ${version.verdict.reason ?? ""}`) : null],
  ])), versions.length > 1 ? h("div", { class: "filters buttons" }, oldLabel, youngLabel) : null, diff);
  if (versions.length > 1) compare();
}

const text = (value) => (value === undefined ? h("span", { class: "dim" }, "not set") : h("code", {}, value));

// What lets a version do more comes first.
const CAPABILITY = /^(egress|allow|secrets|buckets|kv|env|memory|cpu|timeout)/;
const byCapability = (a, b) => CAPABILITY.test(b) - CAPABILITY.test(a) || (a < b ? -1 : 1);

// The settings of a version, one a line.
function flat(version) {
  const settings = new Map([["component", version.component], ["kind", version.kind]]);
  const walk = (prefix, value) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) walk(prefix ? `${prefix}.${key}` : key, inner);
    } else settings.set(prefix, typeof value === "string" ? value : JSON.stringify(value));
  };
  walk("", version.config);
  for (const [stage, config] of Object.entries(version.stage_configs ?? {})) walk(`stage ${stage}`, config);
  return settings;
}

async function showHistory(box, path, signal) {
  const { entries } = await read(`${path}/history?limit=30`, signal);
  put(box, table("History", ["When", "Who", "What", "Why"], entries.map((entry) => [
    time(entry.at_ms), entry.actor,
    [entry.action, entry.version ? ` ${entry.version}` : "", entry.stage && entry.stage !== "live" ? ` in ${entry.stage}` : "", entry.step ? ` at ${entry.step}` : ""].join(""),
    [entry.message, entry.reason].filter(Boolean).join(" – "),
  ])));
}
