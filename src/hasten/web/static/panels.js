// The figures of all streams, the rounds, and the list of events.

import { clock, count, element, ms, percent, share, shortName, write } from "./text.js";

const how = (total) => (total.measured ? "measured with labels" : "expected from exits");

const TOTALS = {
  run: [
    ["On-time accuracy so far", (t) => share(t.accuracy), (t) => (t.accuracy == null ? "labels and profile unknown" : how(t))],
    ["last 10 s", (t) => share(t.accuracy_now)],
    ["on time", (t) => percent(t.on_time, 1)],
    ["late", (t) => percent(t.late, 1)],
    ["dropped", (t) => percent(t.dropped, 1)],
    ["fallbacks", (t) => percent(t.fallback, 1)],
    ["latency p50, p95 now", (t) => `${ms(t.p50_ms)}, ${ms(t.p95_ms)} ms`],
    ["tasks", (t) => count(t.tasks), (t) => (t.rate_hz == null ? "" : `${t.rate_hz.toFixed(1)} a second`)],
  ],
  edge: [
    ["Tasks answered", (t) => count(t.answered)],
    ["a second now", (t) => t.rate_hz.toFixed(1)],
    ["too late", (t) => count(t.late)],
    ["refused", (t) => count(t.refused)],
    ["wait now", (t) => count(t.waiting)],
    ["backlog", (t) => `${ms(t.backlog_ms)} ms`],
    ["workers busy", (t) => `${t.busy} of ${t.workers}`],
    ["devices", (t) => count(t.devices)],
  ],
};

export class Totals {
  constructor(node) {
    this.node = node;
    this.kind = null;
  }

  draw(kind, total) {
    if (!total) return;
    if (kind !== this.kind) {
      this.kind = kind;
      this.values = TOTALS[kind].map(([title]) => {
        const value = element("span");
        const small = element("small");
        this.node.append(element("div", "", element("dt", "", title), element("dd", "", value, small)));
        return { value, small };
      });
    }
    TOTALS[kind].forEach(([, show, more], i) => {
      write(this.values[i].value, show(total));
      write(this.values[i].small, more ? more(total) : "");
    });
  }
}

/** Every round with its on-time accuracy; a click shows it. */
export class Rounds {
  constructor(node, choose) {
    this.node = node;
    this.choose = choose;
    this.shown = "";
  }

  draw(rounds, present) {
    const now = JSON.stringify([rounds, present]);
    if (now === this.shown) return;
    this.shown = now;
    const seeds = new Set(rounds.map((round) => round.seed)).size > 1; // only where they differ
    const head = element("tr", "", element("th", "", "scheduler"), ...(seeds ? [element("th", "", "seed")] : []), element("th", "", "on-time accuracy"), element("th", "", "on time"), element("th", "", "tasks"));
    const best = Math.max(...rounds.map((round) => round.accuracy ?? 0));
    const body = rounds.map((round) => {
      const fill = element("i");
      fill.style.width = `${100 * (round.accuracy ?? 0)}%`;
      const name = element("button", "link", shortName(round.scheduler || round.name));
      name.type = "button";
      const row = element("tr", "", element("td", "", name), ...(seeds ? [element("td", "", String(round.seed))] : []), element("td", "", share(round.accuracy), element("span", "bar", fill)), element("td", "", percent(round.on_time, 1)), element("td", "", count(round.tasks)));
      if (round.accuracy === best && rounds.length > 1 && !round.live) row.classList.add("best");
      row.setAttribute("aria-selected", String(round.name === present));
      row.addEventListener("click", () => this.choose(round.name));
      return row;
    });
    this.node.replaceChildren(element("thead", "", head), element("tbody", "", ...body));
  }
}

/** The newest first; an entry is made anew only when its count has changed. */
export class Events {
  constructor(node) {
    this.node = node;
    this.made = new Map();
  }

  draw(events, rows) {
    for (const number of this.made.keys()) {
      if (!events.has(number)) {
        this.made.get(number).node.remove();
        this.made.delete(number);
      }
    }
    for (const event of events.values()) {
      const known = this.made.get(event.number);
      if (known?.count === event.count && known.at_ms === event.at_ms && known.text === event.text) continue;
      const node = this.#entry(event, rows);
      if (known) known.node.replaceWith(node);
      else this.node.prepend(node);
      this.made.set(event.number, { ...event, node });
    }
    if (!events.size && !this.node.childElementCount) this.node.append(element("li", "none", element("span", "soft", "none so far")));
    else if (events.size) this.node.querySelector(".none")?.remove();
  }

  #entry(event, rows) {
    const when = element("time", "", clock(event.at_ms));
    const who = element("span", "who", event.stream < 0 ? (event.kind === "note" ? "edge" : "run") : rows[event.stream]?.name ?? "");
    const tone = event.stream < 0 ? "round" : event.kind.startsWith("fallback") || event.kind === "answered_late" ? "" : "fault";
    const text = element("span", tone, event.count > 1 ? `${event.count} tasks ${event.text}` : event.text);
    return element("li", "", when, who, text);
  }
}
