// The last tasks, a row each: when they were on the device, on the uplink, at the edge, and until when they had to be.

import { clock, color, element, ms } from "./text.js";

const PARTS = {
  device: { tone: "device", title: "device" },
  encode: { tone: "device", title: "encode" },
  uplink: { tone: "uplink", title: "uplink, its queue included" },
  edge: { tone: "edge", title: "edge" },
  decode: { tone: "edge", title: "decode" },
  downlink: { tone: "uplink", title: "way back", faint: true },
  device_queue: { tone: "wait", title: "waits for the device" },
  edge_queue: { tone: "wait", title: "waits at the edge" },
  wake: { tone: "wait", title: "wakes up" },
  decide: { tone: "wait", title: "decides" },
};
const LEGEND = [["device", "device"], ["uplink", "uplink"], ["edge", "edge"], ["wait", "waits"], ["bad", "deadline"]];
const ROW = 15;

export class Timeline {
  constructor(canvas, legend) {
    this.canvas = canvas;
    this.tasks = [];
    for (const [tone, title] of LEGEND) {
      const mark = element("i");
      mark.style.background = `var(--${tone})`;
      if (tone === "bad") mark.style.width = "3px";
      legend.append(element("li", "", mark, title));
    }
    canvas.addEventListener("mousemove", (event) => this.#point(event));
  }

  draw(store) {
    const box = this.canvas.parentElement;
    const width = box.clientWidth;
    const height = box.clientHeight;
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const draw = this.canvas.getContext("2d");
    draw.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw.clearRect(0, 0, width, height);
    const rows = Math.max(1, Math.floor((height - 20) / ROW));
    this.tasks = store.timeline.slice(-rows).sort((a, b) => a.arrival_ms - b.arrival_ms);
    this.canvas.setAttribute("aria-label", this.#said(store));
    if (!this.tasks.length) return;
    this.#layout(store, draw, width, height);
    this.tasks.forEach((task, row) => this.#task(draw, task, row));
  }

  /** Room for the labels, and the time from the first arrival to the last end or deadline. */
  #layout(store, draw, width, height) {
    draw.font = "12px system-ui, sans-serif";
    this.labels = this.tasks.map((task) => `${store.rows[task.stream]?.name ?? ""} #${task.number}`);
    const left = Math.min(Math.max(...this.labels.map((label) => draw.measureText(label).width)) + 10, width / 3);
    const begin = Math.min(...this.tasks.map((task) => task.arrival_ms));
    const end = Math.max(...this.tasks.map((task) => Math.max(task.ended_ms, task.arrival_ms + task.deadline_ms)));
    const right = width > 560 ? 128 : 8;
    this.left = left;
    this.right = width - right;
    this.x = (at) => left + ((at - begin) / Math.max(end - begin, 1)) * (width - left - right);
    draw.textBaseline = "middle";
    const step = niceStep((end - begin) / 6);
    for (let at = Math.ceil(begin / step) * step; at <= end; at += step) {
      draw.fillStyle = color("grid");
      draw.fillRect(this.x(at), 0, 1, height - 18);
      draw.fillStyle = color("soft");
      draw.textAlign = "center";
      draw.fillText(clock(at), this.x(at), height - 8);
    }
  }

  #task(draw, task, row) {
    const top = row * ROW + 2;
    const middle = top + ROW / 2 - 1;
    draw.textAlign = "left";
    draw.fillStyle = color("soft");
    draw.fillText(this.labels[row], 0, middle, this.left - 6);
    draw.fillStyle = color("wait");
    draw.fillRect(this.x(task.arrival_ms), middle - 0.5, this.x(task.ended_ms) - this.x(task.arrival_ms), 1);
    let at = task.arrival_ms;
    for (const [name, took] of task.stages) {
      const part = PARTS[name];
      if (part) {
        const thin = part.tone === "wait";
        draw.globalAlpha = part.faint ? 0.55 : 1;
        draw.fillStyle = color(part.tone);
        draw.fillRect(this.x(at), thin ? middle - 1.5 : top + 1, Math.max(this.x(at + took) - this.x(at), 0.75), thin ? 3 : ROW - 5);
        draw.globalAlpha = 1;
      }
      at += took;
    }
    draw.fillStyle = color("bad");
    draw.fillRect(this.x(task.arrival_ms + task.deadline_ms) - 1, top - 1, 2, ROW - 1);
    if (this.right < this.canvas.clientWidth - 20) {
      const [text, tone] = fate(task);
      draw.fillStyle = color(tone);
      draw.fillText(text, this.right + 8, middle, this.canvas.clientWidth - this.right - 8);
    }
  }

  #said(store) {
    const last = this.tasks[this.tasks.length - 1];
    if (!last) return "No task yet";
    return `The last ${this.tasks.length} tasks. The latest, ${store.rows[last.stream]?.name ?? ""} number ${last.number}: ${fate(last)[0]}`;
  }

  #point(event) {
    const task = this.tasks[Math.floor((event.offsetY - 2) / ROW)];
    this.canvas.title = task
      ? [`${fate(task)[0]}, deadline ${ms(task.deadline_ms)} ms`, ...task.stages.map(([name, took]) => `${PARTS[name]?.title ?? name}: ${ms(took)} ms`)].join("\n")
      : "";
  }
}

/** How a task ended, in a few words, and the colour of that. */
function fate(task) {
  const what = task.latency_ms == null ? task.reason.replaceAll("_", " ") : `${ms(task.latency_ms)} ms, exit ${task.exit}${task.edge ? `, ${task.edge}` : ""}`;
  if (task.outcome === "on_time") return [task.fallback ? `${what}, alone` : what, task.fallback ? "late" : "soft"];
  return [task.outcome === "late" ? `late: ${what}` : `dropped: ${what}`, "bad"];
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}
