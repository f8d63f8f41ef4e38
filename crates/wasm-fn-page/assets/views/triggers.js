// Triggers with what they did and will do, and dead letters.

import { count, h, put, table, time } from "../dom.js";
import { api, query, read, segment } from "../node.js";
import { confirm } from "../page.js";

const path = (trigger) =>
  `/v1/functions/${segment(trigger.function)}/stages/${segment(trigger.stage)}/triggers/${segment(trigger.name)}`;

export async function triggers(main, signal, name) {
  const list = h("div", {});
  const dead = h("div", {});
  put(main, h("h1", {}, "Triggers", name ? [" of ", h("a", { href: `#/functions/${segment(name)}` }, name)] : null), list, dead);

  async function show() {
    let found = [];
    if (name) found = (await read(`/v1/functions/${segment(name)}/triggers`, signal)).triggers;
    else found = (await read("/v1/triggers?limit=1000", signal)).triggers;
    put(list, found.length === 0 ? h("p", {}, "There are none.") : table("Triggers",
      ["Function", "Trigger", "Next runs", "Last runs", ["Waiting"], ["Dead letters"], "Commands"],
      found.map((trigger) => [
        [h("a", { href: `#/functions/${segment(trigger.function)}` }, trigger.function), trigger.stage === "live" ? "" : ` in ${trigger.stage}`],
        [h("strong", {}, trigger.name), ` ${Object.keys(trigger.source)[0]}`,
          trigger.paused ? h("span", { class: "wait" }, ` paused by ${trigger.paused.by}${trigger.paused.note ? `: ${trigger.paused.note}` : ""}`) : null],
        (trigger.next_ms ?? []).slice(0, 2).map((at) => h("div", {}, time(at))),
        runs(trigger.counts),
        count(trigger.inbox.waiting + trigger.inbox.in_flight),
        h("span", { class: trigger.inbox.dead > 0 ? "bad" : null }, count(trigger.inbox.dead)),
        h("div", { class: "buttons" },
          h("button", { type: "button", "aria-label": `${trigger.paused ? "Resume" : "Pause"} ${trigger.name}`, onclick: () => command(trigger) }, trigger.paused ? "Resume" : "Pause"),
          trigger.inbox.dead > 0 ? h("button", { type: "button", "aria-label": `Dead letters of ${trigger.name}`, onclick: () => letters(trigger) }, "Dead letters") : null),
      ])));
  }

  async function command(trigger) {
    const verb = trigger.paused ? "resume" : "pause";
    const done = await confirm({
      title: `${trigger.paused ? "Resume" : "Pause"} ${trigger.name}`,
      effect: trigger.paused ? "What waits is delivered from now on." : "Events that come wait until somebody resumes it; ticks of a schedule are skipped.",
      verb: trigger.paused ? "Resume" : "Pause",
    }, (message) => api("POST", `${path(trigger)}/${verb}`, { message }));
    if (done) await show();
  }

  async function letters(trigger) {
    const { events, more } = await read(`${path(trigger)}/events${query({ state: "dead", limit: 100 })}`, signal);
    const redrive = (which, what) => async () => {
      const done = await confirm({
        title: `Redrive ${what}`, effect: `${what} of ${trigger.name} ${which.all ? "are" : "is"} delivered again, as if it came now.`, verb: "Redrive",
      }, () => api("POST", `${path(trigger)}/events/redrive`, which));
      if (done) {
        await show();
        await letters(trigger);
      }
    };
    put(dead, h("h2", {}, `Dead letters of ${trigger.name}`),
      events.length === 0 ? h("p", {}, "There are none any more.") : [
        h("div", { class: "buttons" }, h("button", { type: "button", onclick: redrive({ all: true }, "All dead letters") }, "Redrive all")),
        table(`Dead letters of ${trigger.name}`, ["Event", "Since", ["Attempts"], "Reason", "Commands"], events.map((event) => [
          h("code", {}, event.id), time(event.state.at_ms), event.state.attempts, event.state.reason,
          h("button", { type: "button", "aria-label": `Redrive ${event.id}`, onclick: redrive({ ids: [event.id] }, `Event ${event.id}`) }, "Redrive"),
        ])), more ? h("p", { class: "dim" }, "There are more.") : null]);
    dead.firstChild.scrollIntoView();
  }
  await show();
}

function runs(counts) {
  const [done, failed] = (counts.versions ?? []).reduce(([done, failed], version) => [done + version.acknowledged, failed + version.failed], [0, 0]);
  const row = counts.failures_in_a_row ?? 0;
  return [`${count(done)} done`, failed > 0 ? h("span", { class: "bad" }, `, ${count(failed)} failed`) : null,
    row > 0 ? h("span", { class: "bad" }, `, the last ${row} in a row`) : null];
}
