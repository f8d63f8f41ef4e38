// Elements and texts. Whatever a function, a log or a person wrote becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

// An element with attributes, listeners (`onclick`) and children; `null` children are left out.
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Replaces what is in `element`.
export function put(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
}

// Sets a text only where it differs, so that screen readers hear only changes.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const count = (number) =>
  number < 10_000 ? String(number) : Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(number);

export const percent = (share) => {
  const value = share * 100;
  return `${value === 0 || value >= 10 ? Math.round(value) : value.toFixed(value < 1 ? 2 : 1)} %`;
};

export const millis = (ms) => {
  if (ms === undefined || ms === null) return "–";
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 1000) return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
};

export const duration = (ms) => {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172_800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} days`;
};

export const bytes = (number) => (number < 1 << 20 ? `${Math.round(number / 1024)} KiB` : `${(number / (1 << 20)).toFixed(1)} MiB`);

export function time(ms) {
  const date = new Date(ms);
  return h("time", { datetime: date.toISOString() }, date.toLocaleString());
}

// Which nodes' numbers are not there, in words; empty if all are.
export const missing = (nodes) =>
  (nodes ?? []).filter((node) => node.missing).map((node) => `Node ${node.node} is missing: ${node.missing}.`).join(" ");

// A table; `heads` are texts, or `[text]` for a column of numbers. `rows` are arrays of cells.
export function table(caption, heads, rows) {
  const numeric = heads.map((head) => Array.isArray(head));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {},
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col", class: Array.isArray(head) ? "n" : null }, head)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, at) => h("td", { class: numeric[at] ? "n" : null }, cell)))))));
}
