// What is about the node as a whole: the audit log, and the node itself.

import { duration, h, put, table, time } from "../dom.js";
import { query, read } from "../node.js";

export async function audit(main, signal, parameters) {
  const filter = h("input", { type: "search", name: "function", value: parameters.get("function") ?? "", placeholder: "all functions" });
  const actor = h("input", { name: "actor", value: parameters.get("actor") ?? "", placeholder: "everybody" });
  const list = h("div", {});
  const more = h("div", { class: "buttons" });
  let shown = [];
  put(main, h("h1", {}, "Audit"),
    h("form", { class: "filters", onsubmit: (event) => (event.preventDefault(), (shown = []), page()) },
      h("label", {}, "Function", filter), h("label", {}, "Token", actor), h("button", {}, "Show")), list, more);

  async function page(before) {
    const found = await read(`/v1/audit${query({ function: filter.value.trim(), actor: actor.value.trim(), before, limit: 100 })}`, signal);
    shown = [...shown, ...found.entries];
    put(list, table("Audit log", ["When", "Who", "From", "What", "Why"], shown.map((entry) => [
      time(entry.at_ms), entry.actor, entry.node ? `${entry.origin} on ${entry.node}` : entry.origin,
      [entry.action, entry.function ? ` ${entry.function}` : "", entry.subject ? ` ${entry.subject}` : "",
        entry.history?.[0]?.version ? ` ${entry.history[0].version}` : ""].join(""),
      [entry.message, entry.history?.[0]?.reason, ...(entry.refusals ?? []).map((refusal) => `${refusal.actor ?? refusal.address}: ${refusal.reason} (${refusal.times} times)`)]
        .filter(Boolean).join(" – "),
    ])));
    put(more, found.before ? h("button", { type: "button", onclick: () => page(found.before) }, "Older entries") : null);
  }
  await page();
}

export async function node(main, signal) {
  const [node, caller] = await Promise.all([read("/v1/node", signal), read("/v1/caller", signal)]);
  const { rights } = caller.token;
  const scope = [rights.functions?.length > 0 ? `functions ${rights.functions.join(", ")}` : "all functions",
    rights.stages?.length > 0 ? `stages ${rights.stages.join(", ")}` : "all stages"].join(" in ");
  put(main, h("h1", {}, "Node"), table("Node", ["What", "Value"], [
    ["Version", node.version],
    ["Functions are called at", h("code", {}, `${node.data_scheme}://${node.data_listen}`)],
    ["Functions", String(node.functions)],
    ["Revision", String(node.revision)],
    ["Started", [time(node.started_ms), ` (${duration(Date.now() - node.started_ms)} ago)`]],
    ["You are", `${caller.token.name}: ${rights.roles.join(", ")}, ${scope}`],
    ["You may", caller.permissions.join(", ")],
  ]));
}
