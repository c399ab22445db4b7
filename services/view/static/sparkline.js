// Small charts of the last minute.

import { shape } from "./dom.js";

const POINTS = 60, WIDTH = 84, HEIGHT = 22;
const series = new Map();

/** Remember a value under a key; null leaves a gap. */
export function remember(key, value) {
  const values = series.get(key) ?? [];
  values.push(value == null || Number.isNaN(value) ? null : value);
  if (values.length > POINTS) values.shift();
  series.set(key, values);
}

/** A new chart; `update` draws what is remembered under the key. */
export function sparkline(key, label) {
  const area = shape("path", { class: "area" }), line = shape("path", { class: "line" });
  const floor = shape("path", { class: "floor", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` });
  const chart = shape("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, floor, area, line);
  chart.update = () => {
    const values = series.get(key) ?? [];
    const most = Math.max(1e-9, ...values.filter((value) => value != null)) * 1.15;
    let path = "", first = null, last = null, pen = false;
    values.forEach((value, index) => {
      if (value == null) { pen = false; return; }
      const x = WIDTH - (values.length - 1 - index) * (WIDTH / (POINTS - 1));
      const y = HEIGHT - 1 - (value / most) * (HEIGHT - 3);
      path += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = true;
      first ??= x;
      last = x;
    });
    line.setAttribute("d", path);
    area.setAttribute("d", path && !path.slice(1).includes("M") ? `${path}L${last.toFixed(1)} ${HEIGHT}L${first.toFixed(1)} ${HEIGHT}Z` : "");
  };
  return chart;
}
