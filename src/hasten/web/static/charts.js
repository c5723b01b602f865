// The plots over time and the calibration curve, drawn by uPlot.

import { color, mbps, ms, percent, share } from "./text.js";
import { SPAN_MS } from "./store.js";

const seconds = (at_ms) => at_ms / 1000;
const clock = (_, values) => values.map((s) => `${Math.floor(s / 60)}:${String(Math.round(s % 60)).padStart(2, "0")}`);

function axis(values, size = 46) {
  return { stroke: color("soft"), grid: { stroke: color("grid"), width: 1 }, ticks: { show: false }, size, values, font: "12px system-ui, sans-serif" };
}

const time = { label: "time", value: (_, s) => (s == null ? "–" : `${s.toFixed(1)} s`) };
const steps = () => uPlot.paths.stepped({ align: -1 });

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400]; // whole seconds: what a clock shows
const timeAxis = () => ({ ...axis(clock, 28), incrs: STEPS_S });

/** A line over time: what it is called, its column, its colour, and how its values are told. */
function line(label, name, tone, value, more = {}) {
  return { name, label, stroke: color(tone), width: 2, value: (_, v) => value(v), points: { show: false }, spanGaps: false, ...more };
}

const LINES = {
  run: {
    accuracy: {
      tell: share,
      range: [0, 1],
      lines: () => [line("on-time accuracy", "accuracy", "accent", share), line("share on time", "on_time", "neutral", share, { width: 1.5, dash: [5, 4] })],
    },
    rate: {
      tell: (v) => v,
      lines: () => [
        line("shaped, Mbit/s", "shaped_mbps", "neutral", mbps, { paths: steps(), width: 1.5, fill: `${color("wait")}44` }),
        line("believed, Mbit/s", "rate_mbps", "uplink", mbps),
      ],
    },
    backlog: {
      tell: (v) => v,
      lines: () => [line("device, ms", "device_wait_ms", "device", ms), line("uplink, ms", "uplink_wait_ms", "uplink", ms), line("edge, ms", "edge_wait_ms", "edge", ms)],
    },
  },
  edge: {
    accuracy: { tell: (v) => v, lines: () => [line("backlog, ms", "backlog_ms", "edge", ms), line("tasks that wait", "waiting", "neutral", (v) => v ?? "–", { width: 1.5, dash: [5, 4] })] },
    load: { tell: (v) => v, lines: () => [line("answered", "answered_hz", "edge", ms), line("too late", "late_hz", "late", ms), line("refused", "refused_hz", "bad", ms)] },
  },
};

/** Everything that is drawn by uPlot, made anew when the kind of page or the colours change. */
export class Charts {
  constructor() {
    this.plots = new Map();
    this.kind = null;
  }

  forget() {
    for (const { plot } of this.plots.values()) plot.destroy();
    this.plots.clear();
  }

  draw(store) {
    const kind = store.head.kind ?? "run";
    if (kind !== this.kind) this.forget();
    this.kind = kind;
    for (const [id, chart] of Object.entries(LINES[kind])) this.#lines(id, chart, store);
    if (kind === "run") {
      this.#latency(store);
      this.#calibration(store);
    }
  }

  #lines(id, chart, store) {
    const made = this.#plot(id, () => ({
      series: [time, ...chart.lines()],
      scales: { x: { time: false, range: (u) => u.span ?? [0, 1] }, y: { range: chart.range ?? ((_, low, high) => [0, high > 0 ? 1.1 * high : 1]) } },
      axes: [timeAxis(), axis((_, values) => values.map(String))],
    }));
    made.plot.span = span(store);
    const empty = store.series.at_ms.map(() => null);
    made.plot.setData([store.series.at_ms.map(seconds), ...made.plot.series.slice(1).map((one) => store.series[one.name] ?? empty)]);
  }

  #latency(store) {
    const dot = (label, tone, value = ms) => ({ label, stroke: color(tone), paths: () => null, points: { show: true, size: 4, width: 0, fill: color(tone) }, value: (_, v) => value(v) });
    const made = this.#plot("latency", () => ({
      series: [time, dot("on time, ms", "device"), dot("late, ms", "late"), dot("no answer", "bad", () => ""), line("deadline, ms", "", "bad", ms, { dash: [6, 4], width: 1.5, paths: steps() })],
      scales: { x: { time: false, range: (u) => u.span ?? [0, 1] }, y: { range: (u) => [0, u.top ?? 1] } },
      axes: [timeAxis(), axis((_, values) => values.map(String))],
    }));
    const points = [...store.points].sort((a, b) => a[0] - b[0]);
    const longest = points.reduce((most, [, , deadline]) => Math.max(most, deadline), 0);
    const top = 1.35 * longest || 1;
    const pick = (wanted) => points.map(([, latency, , outcome]) => (latency != null && (outcome === 0) === wanted ? Math.min(latency, 0.99 * top) : null));
    made.plot.span = span(store);
    made.plot.top = top;
    const lost = points.map(([, latency]) => (latency == null ? 0.015 * top : null));
    made.plot.setData([points.map(([at]) => seconds(at)), pick(true), pick(false), lost, points.map(([, , deadline]) => deadline)]);
  }

  #calibration(store) {
    const kinds = [["on the device", "device"], ["with the edge", "edge"]];
    const made = this.#plot("calibration", () => ({
      series: [
        { label: "promised", value: (_, v) => percent(v) },
        { label: "as promised", stroke: color("neutral"), dash: [4, 4], width: 1, points: { show: false }, spanGaps: true, value: (_, v) => percent(v) },
        ...kinds.map(([label, tone]) => ({ label, stroke: color(tone), width: 2, spanGaps: true, points: { show: true, size: 7, fill: color(tone) }, value: (_, v) => percent(v) })),
      ],
      scales: { x: { time: false, range: [0, 1] }, y: { range: [0, 1.02] } },
      axes: [axis((_, values) => values.map((v) => percent(v)), 28), axis((_, values) => values.map((v) => percent(v)))],
    }));
    const at = [...new Set([0, 1, ...store.calibration.flatMap((kind) => kind.points.map(([promised]) => promised))])].sort((a, b) => a - b);
    const kept = store.calibration.map((kind) => new Map(kind.points.map(([promised, share]) => [promised, share])));
    made.plot.setData([at, at, ...kinds.map((_, i) => at.map((x) => kept[i]?.get(x) ?? null))]);
    const known = store.calibration.some((kind) => kind.points.length);
    document.querySelector("[data-plot=calibration] .of").dataset.known = known ? "" : "no";
  }

  #plot(id, options) {
    const node = document.getElementById(id);
    let made = this.plots.get(id);
    if (!made) {
      const given = options();
      const plot = new uPlot({ width: node.clientWidth || 300, height: 100, legend: { live: true }, cursor: { points: { size: 7 }, y: false }, ...given }, given.series.map(() => []), node);
      made = { plot };
      this.plots.set(id, made);
      // Again whenever the legend has another size: it is laid out late, and its texts change.
      new ResizeObserver(() => requestAnimationFrame(() => fit(made, node))).observe(node.querySelector(".u-legend"));
    }
    fit(made, node);
    return made;
  }
}

/** The size of its box, the legend below the plot included. */
function fit(made, node) {
  const width = node.clientWidth;
  const legend = node.querySelector(".u-legend")?.offsetHeight ?? 0;
  const height = node.clientHeight - legend;
  if (width > 0 && height > 40 && (width !== made.plot.width || height !== made.plot.height)) made.plot.setSize({ width, height });
}

/** The last minute, or from the beginning where there is less, seconds. */
function span(store) {
  const now = store.head.at_ms ?? 0;
  const end = Math.max(now, Math.min(SPAN_MS, store.head.live ? SPAN_MS / 4 : store.head.end_ms ?? 0), 1);
  return [seconds(Math.max(end - SPAN_MS, 0)), seconds(end)];
}
