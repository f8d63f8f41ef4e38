// Curves: small ones as SVG, large ones by uPlot.

import { h, svg } from "./dom.js";

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// A sparkline of requests, with failures below it.
export function spark(requests, failures) {
  const highest = Math.max(1, ...requests);
  const points = (values) => values.map((value, at) =>
    `${((at / Math.max(1, values.length - 1)) * 108 + 1).toFixed(1)},${(26 - (value / highest) * 24).toFixed(1)}`).join(" ");
  const all = requests.reduce((sum, value) => sum + value, 0);
  const failed = failures.reduce((sum, value) => sum + value, 0);
  return svg("svg", { class: "spark", viewBox: "0 0 110 28", role: "img", "aria-label": `${all} requests in the last hour, ${failed} failed` },
    svg("polyline", { class: "all", points: points(requests) }),
    failed > 0 ? svg("polyline", { class: "failed", points: points(failures) }) : null);
}

// A chart over time. `curves` are `{ label, color, dash }`, of which a dashed one is a bound; `format` writes a value. Returns the element, and
// `set` with `[times in s, …values]`, where null is a gap.
export function chart(title, curves, format, { range, signal } = {}) {
  const box = h("div", { class: "chart" });
  const said = h("p", { class: "dim" });
  const element = h("figure", { class: "card" }, h("figcaption", {}, h("h3", {}, title)), box,
    h("ul", { class: "legend" }, curves.map((curve) => {
      const line = h("i", {});
      line.style.background = color(curve.color);
      return h("li", {}, line, curve.label);
    })), said);
  let plot = null;
  let data = null;
  const draw = () => {
    if (!data || !box.isConnected || box.clientWidth === 0) return;
    plot?.destroy();
    const axis = { stroke: color("dim"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line") }, font: "12px system-ui" };
    plot = new uPlot({
      width: box.clientWidth, height: 190, legend: { show: false }, cursor: { show: false }, ms: 1e-3,
      scales: { x: { time: true }, y: { range: range ?? ((_, low, high) => (high > 0 ? [Math.min(0, low), high * 1.1] : [0, 1])) } },
      axes: [axis, { ...axis, size: 64, values: (_, splits) => splits.map(format) }],
      series: [{}, ...curves.map((curve) => ({
        label: curve.label, stroke: color(curve.color), width: 2, dash: curve.dash, spanGaps: true,
        points: { show: (_, at) => data[at].filter((value) => value !== null).length < 3 },
      }))],
    }, data, box);
    plot.root.setAttribute("aria-hidden", "true");
  };
  const set = (values) => {
    data = values;
    const last = curves.map((curve, at) => {
      if (curve.dash) return null;
      const value = values[at + 1].findLast((value) => value !== null);
      return value === undefined ? null : `${curve.label}: ${format(value)}`;
    }).filter(Boolean);
    said.textContent = last.length > 0 ? `Now ${last.join(", ")}` : "Nothing yet";
    if (plot) plot.setData(values);
    else draw();
  };
  const resize = new ResizeObserver(() => {
    if (plot && box.clientWidth > 0 && plot.width !== box.clientWidth) plot.setSize({ width: box.clientWidth, height: 190 });
    else if (!plot) draw();
  });
  resize.observe(box);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", draw, { signal });
  signal?.addEventListener("abort", () => {
    resize.disconnect();
    plot?.destroy();
  });
  return { element, set };
}
