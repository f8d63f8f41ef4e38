// The rollout of a stage: where it stands, what both sides did, what its gate thinks, and the five buttons.

import { count, duration, h, millis, percent, put, say, table } from "../dom.js";
import { api, read, segment } from "../node.js";
import { chart } from "../charts.js";
import { confirm } from "../page.js";

const WORDS = { pass: "The gate has no objection", wait: "The gate waits", fail: "The gate has failed" };
const PHASES = {
  checking: "checks run", progressing: "in a step", "awaiting promotion": "waits for a person to promote", paused: "paused",
  frozen: "stopped here by its gate", watching: "has all traffic and is watched",
};
// `lasted_ms` grows with the clock in these.
const GROWING = ["progressing", "watching", "checking", "awaiting promotion"];
const OUTCOMES = { promoted: "was promoted", aborted: "was aborted", "rolled-back": "was rolled back" };
const COLORS = ["bad", "canary", "wait", "good", "dim"];

// The part of a stage that is about its rollout, under way or the last. `course` is what it did so far.
export function rollout(name, stage, course, signal) {
  const heading = h("h3", {}, "");
  const verdict = h("p", { class: "verdict", "aria-live": "polite" });
  const detail = h("p", { class: "dim" });
  const steps = h("ol", { class: "steps", "aria-label": "Steps" });
  const shares = h("p", {});
  const buttons = h("div", { class: "buttons", role: "group", "aria-label": `Commands for ${stage}` });
  const charts = h("div", { class: "pair" });
  const signals = h("div", {});
  const traps = h("div", {});
  const requests = h("div", {});
  const card = h("div", { class: "card", "data-rollout": stage }, heading, verdict, detail, steps, shares, buttons, charts, signals, traps, requests);
  const curves = drawn(charts, course, signal);
  let now;
  let clock;

  // `lasted_ms` grows by itself while a rollout runs.
  const tick = () => {
    const { found, at } = now ?? {};
    if (!found?.rollout) return;
    const { rollout } = found;
    const lasted = rollout.lasted_ms + (GROWING.includes(rollout.phase) ? performance.now() - at : 0);
    const place = rollout.lasts_ms > 0 ? `${duration(lasted)} of at least ${duration(rollout.lasts_ms)} in this step` : "";
    say(detail, [PHASES[rollout.phase] ?? rollout.phase, place, rollout.reason].filter(Boolean).join("; "));
  };
  clock = setInterval(tick, 1000);
  signal.addEventListener("abort", () => clearInterval(clock));

  function show(status, found) {
    now = { status, found, at: performance.now() };
    const { rollout, last_rollout: last } = found;
    const evidence = rollout?.gate?.evidence ?? (rollout ? null : last?.evidence);
    if (rollout) {
      put(heading, "Rollout of ", h("span", { class: "canary" }, rollout.canary), " from ", h("span", { class: "stable" }, rollout.stable));
      const gate = rollout.gate;
      verdict.className = `verdict ${gate?.verdict === "fail" ? "bad" : gate?.verdict === "pass" ? "good" : "wait"}`;
      say(verdict, gate ? `${WORDS[gate.verdict] ?? gate.verdict}: ${gate.reason}.` : "No gate watches this rollout.");
      tick();
      // Steps are counted from 1.
      const at = rollout.step ? rollout.step - 1 : rollout.steps.indexOf(rollout.weight);
      const current = rollout.phase === "watching" ? rollout.steps.length - 1 : at;
      put(steps, rollout.steps.map((step, index) => h("li", {
        class: index < current ? "done" : null, "aria-current": index === current ? "step" : null,
      }, step, h("span", { class: "dim" }, index < current ? " done" : index === current ? " now" : ""))));
      const all = evidence ? evidence.canary.requests + evidence.stable.requests : 0;
      say(shares, `Share of ${rollout.canary}: ${rollout.weight} set${all > 0 ? `, ${percent(evidence.canary.requests / all)} of requests so far` : ""}.`);
    } else if (last) {
      put(heading, "Last rollout: ", last.canary, " from ", last.stable);
      verdict.className = `verdict ${last.outcome === "promoted" ? "good" : "bad"}`;
      say(verdict, `${last.canary} ${OUTCOMES[last.outcome] ?? last.outcome}: ${last.reason}.`);
      say(detail, `${new Date(last.ended_ms).toLocaleString()}, after ${duration(last.ended_ms - last.started_ms)}`);
      put(steps);
      say(shares, `All traffic: ${found.split.map((part) => `${part.version} ${part.weight}`).join(", ")}.`);
    } else {
      put(heading, "No rollout");
      say(verdict, "");
      say(detail, `Traffic: ${found.split.map((part) => `${part.version} ${part.weight}`).join(", ")}`);
      put(steps);
      say(shares, "");
    }
    commands(rollout);
    facts(evidence);
    curves.add(found, evidence);
  }

  let offered;
  function commands(rollout) {
    // Buttons stay the same while the same can be done, so that none moves under a finger.
    const kind = `${rollout?.phase}/${rollout?.canary}`;
    if (kind === offered) return;
    offered = kind;
    const button = (text, act, danger) => h("button", { type: "button", class: danger ? "danger" : null, onclick: act }, text);
    put(buttons, rollout ? [
      button("Promote", () => promote(false)),
      button("Promote fully", () => promote(true)),
      rollout.phase === "paused" || rollout.phase === "frozen" ? button("Resume", () => hold("resume")) : button("Pause", () => hold("pause")),
      button("Abort", abort, true),
    ] : null, button("Roll back …", rollBack, true));
  }

  const send = (verb, body) => api("POST", `/v1/functions/${segment(name)}/${verb}`, { stage, expected_revision: now.status.revision, ...body });

  function promote(full) {
    const { rollout } = now.found;
    const next = rollout.step ? rollout.steps[rollout.step] : undefined;
    const seen = { canary: rollout.canary, started_ms: rollout.started_ms, step: rollout.step, phase: rollout.phase };
    return confirm({
      title: full ? `Promote ${rollout.canary} fully` : `Promote ${rollout.canary}`,
      effect: full
        ? `All requests of ${stage} go to ${rollout.canary} at once, and it becomes stable. The gate is not waited for.`
        : next
          ? `${rollout.canary} gets ${next} of requests instead of ${rollout.weight}, though this step is not over.`
          : `${rollout.canary} goes to the next step.`,
      verb: full ? "Promote fully" : "Promote",
    }, (message) => send("promote", { full, seen, message }));
  }

  function hold(verb) {
    const { rollout } = now.found;
    return confirm({
      title: verb === "pause" ? "Pause the rollout" : "Resume the rollout",
      effect: verb === "pause"
        ? `${rollout.canary} keeps its share of ${rollout.weight}. No step is taken until somebody resumes.`
        : `${rollout.canary} goes on from ${rollout.weight} under a new gate: the evidence so far does not count.`,
      verb: verb === "pause" ? "Pause" : "Resume",
    }, (message) => send(verb, { message }));
  }

  function abort() {
    const { rollout } = now.found;
    return confirm({
      title: `Abort the rollout of ${rollout.canary}`,
      effect: `From the next request on, ${rollout.canary} gets no traffic. Requests of ${stage} go to ${
        rollout.from_split.map((part) => (part.weight === "100%" ? part.version : `${part.version} (${part.weight})`)).join(" and ")}.`,
      verb: "Abort", danger: true,
    }, (message) => send("abort", { message }));
  }

  async function rollBack() {
    const { found } = now;
    const { versions } = await read(`/v1/functions/${segment(name)}/versions?limit=50`, signal);
    const others = versions.map((version) => version.version).filter((version) => version !== found.stable || found.rollout);
    if (others.length === 0) return confirm({ title: "Roll back", effect: "There is no other version to go to.", verb: "Close" }, async () => {});
    const select = h("select", {}, others.map((version) => h("option", { selected: version === (found.rollout ? found.stable : found.previous) }, version)));
    return confirm({
      title: `Roll back ${stage}`,
      fields: [h("label", {}, "Version", select)],
      effect: () => `All requests of ${stage} go to ${select.value} at once${found.rollout ? `, and the rollout of ${found.rollout.canary} is aborted` : ""}.`,
      verb: "Roll back", danger: true,
    }, (message) => send("rollback", { to: select.value, message }));
  }

  let told;
  function facts(evidence) {
    const text = JSON.stringify(evidence ?? null);
    if (text === told) return;
    told = text;
    put(signals, evidence?.signals?.length > 0 ? table("Evidence", ["Test", ["Canary"], ["Stable"], "Evidence", "In words"], evidence.signals.map((test) => [
      h("code", {}, test.signal), percent(test.canary_rate), percent(test.stable_rate),
      [h("progress", { max: 1, value: test.progress, "aria-label": `Evidence of ${test.signal}` }),
        h("span", { class: "dim" }, `${factor(test.e_value)} of ${factor(test.threshold)}`)],
      test.text])) : null);
    put(traps, evidence?.traps?.length > 0 ? [h("h3", {}, "Traps that stable has never had"),
      h("div", { class: "pair" }, evidence.traps.map((trap) => h("div", {},
        h("p", {}, `${trap.hits} times, `, h("code", {}, trap.fingerprint)), h("pre", { tabindex: 0 }, trap.backtrace))))] : null);
    put(requests, evidence?.failed_requests?.length > 0 ? [h("h3", {}, "First requests of the canary that failed"),
      h("ul", {}, evidence.failed_requests.map((id) =>
        h("li", {}, h("a", { href: `#/functions/${segment(name)}/logs?request=${segment(id)}` }, h("code", {}, id)))))] : null);
  }

  return { element: card, show };
}

// How many times better something explains what was seen.
const factor = (value) => {
  if (value >= 1e5) return `10^${Math.round(Math.log10(value))}×`;
  return `${value >= 10 ? Math.round(value) : value.toPrecision(2)}×`;
};

// The curves of a rollout: errors and latency of both sides, and the evidence.
function drawn(box, course, signal) {
  let key = null;
  let charts = [];
  let moments = [];
  let names = [];
  const sides = [{ label: "canary", color: "canary" }, { label: "stable", color: "stable" }];

  function begin(rollout, evidence) {
    key = `${rollout.canary}/${rollout.started_ms}`;
    names = (evidence?.signals ?? []).map((test) => test.signal).slice(0, COLORS.length);
    moments = [];
    if (course && course.started_ms === rollout.started_ms && course.canary === rollout.canary) {
      names = course.signals.length > 0 ? course.signals.map((test) => test.signal).slice(0, COLORS.length) : names;
      moments = course.at_ms.map((at, index) => ({
        at, canary: of(course.canary_side, index), stable: of(course.stable_side, index),
        tests: Object.fromEntries(course.signals.map((test) => [test.signal, [test.log_e[index] / Math.LN10, test.log_threshold / Math.LN10]])),
      }));
    }
    const power = (value) => factor(10 ** value);
    charts = [
      chart("Errors", sides, percent, { signal }),
      chart("Latency, p99", sides, millis, { signal }),
      chart("Evidence that the canary is worse, on a logarithmic scale", [
        { label: "the gate fails here", color: "text", dash: [6, 4] },
        ...names.map((label, at) => ({ label, color: COLORS[at] })),
      ], power, { signal, range: (_, low, high) => [Math.min(-1, Math.floor(low ?? 0)), Math.ceil((high ?? 1) + 0.3)] }),
    ];
    put(box, charts.map((each) => each.element));
  }

  return {
    add(found, evidence) {
      const rollout = found.rollout ?? found.last_rollout;
      if (!rollout || !evidence) {
        if (key !== null || !rollout) put(box);
        key = null;
        return;
      }
      if (key !== `${rollout.canary}/${rollout.started_ms}`) begin(rollout, evidence);
      const at = found.rollout ? Date.now() : rollout.ended_ms;
      const side = (side) => ({ requests: side.requests, failures: side.failures, p99: side.latency_p99_ms || null });
      const moment = { at, canary: side(evidence.canary), stable: side(evidence.stable),
        tests: Object.fromEntries(evidence.signals.map((test) => [test.signal, [Math.log10(Math.max(test.e_value, 1e-3)), Math.log10(test.threshold)]])) };
      const last = moments.at(-1);
      if (last && at < last.at + 1000) moments[moments.length - 1] = { ...moment, at: last.at };
      else moments.push(moment);
      if (moments.length > 480) moments = moments.filter((_, index) => index % 2 === 0 || index === moments.length - 1);
      const times = moments.map((moment) => moment.at / 1000);
      const rates = (which) => moments.map((moment, index) => {
        // Of the last tenth of the time, so that what is new shows.
        const before = moments[Math.max(0, index - Math.max(2, Math.floor(moments.length / 10)))];
        const requests = moment[which].requests - (before === moment ? 0 : before[which].requests);
        const failures = moment[which].failures - (before === moment ? 0 : before[which].failures);
        return requests > 0 ? Math.max(0, failures) / requests : null;
      });
      charts[0].set([times, rates("canary"), rates("stable")]);
      charts[1].set([times, moments.map((moment) => moment.canary.p99), moments.map((moment) => moment.stable.p99)]);
      charts[2].set([times, moments.map((moment) => Object.values(moment.tests)[0]?.[1] ?? null),
        ...names.map((name) => moments.map((moment) => moment.tests[name]?.[0] ?? null))]);
    },
  };
}

const of = (side, index) => ({ requests: side.requests[index], failures: side.failures[index], p99: side.latency_p99_ms[index] || null });
