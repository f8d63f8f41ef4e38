// What is about the node as a whole: the audit log, and the node itself.

import { duration, h, put, say, table, time } from "../dom.js";
import { pause, query, read } from "../node.js";
import { live } from "../page.js";

// How often the cluster is looked at, milliseconds.
const AGAIN_MS = 2000;

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
  const cluster = h("div", {});
  put(main, h("h1", {}, "Node"), cluster, table("Node", ["What", "Value"], [
    ["Version", node.version],
    ["Functions are called at", h("code", {}, `${node.data_scheme}://${node.data_listen}`)],
    ["Functions", String(node.functions)],
    ["Revision", String(node.revision)],
    ["Started", [time(node.started_ms), ` (${duration(Date.now() - node.started_ms)} ago)`]],
    ["You are", `${caller.token.name}: ${rights.roles.join(", ")}, ${scope}`],
    ["You may", caller.permissions.join(", ")],
  ]));
  await nodes(cluster, signal);
}

// The nodes of the cluster, looked at again and again; nothing for a node that is alone.
async function nodes(box, signal) {
  const heading = h("h2", {}, "");
  const touch = h("p", { class: "verdict", role: "status" });
  const tables = h("div", {});
  for (;;) {
    try {
      const found = await read("/v1/cluster", signal);
      say(heading, `Nodes of ${found.cluster}`);
      touch.className = `verdict ${found.in_touch ? "good" : "bad"}`;
      say(touch, found.in_touch ? `This is ${found.node}, which is in touch with the cluster.`
        : `This is ${found.node}, which is out of touch since ${new Date(found.out_of_touch_since_ms).toLocaleTimeString()}: ${found.problem ?? "the broker does not answer"}.`);
      put(tables, table("Nodes", ["Node", "Ready", ["Revision"], ["Behind"], ["Heard"], "Decides about", "Version"], found.nodes.map((node) => [
        h("strong", {}, node.name), node.ready === null ? "?" : node.ready ? "yes" : h("span", { class: "bad" }, "no"), String(node.revision),
        h("span", { class: node.lag > 0 ? "bad" : null }, String(node.lag)),
        node.name === found.node && node.heard_ms === 0 ? "here" : h("span", { class: node.heard_ms > 3000 ? "bad" : null }, `${duration(node.heard_ms)} ago`),
        node.leads.join(", "), node.version])),
      found.servers?.length > 0 ? [h("h2", {}, "Servers of the broker"), table("Servers", ["Server", "Leads", "Up to date", ["Behind"]],
        found.servers.map((server) => [server.name, server.leader ? "yes" : "no",
          server.offline ? h("span", { class: "bad" }, "not there") : server.current ? "yes" : h("span", { class: "bad" }, "no"), String(server.lag)]))] : null);
      if (!box.firstChild) put(box, heading, touch, tables, h("h2", {}, "This node"));
      live(true);
    } catch (error) {
      if (error.code === "no-cluster" || signal.aborted) return;
      if (error.status >= 400 && error.status < 500) throw error;
      live(false);
    }
    await pause(AGAIN_MS, signal);
    if (signal.aborted) return;
  }
}
