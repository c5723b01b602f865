// What the page knows: updates are applied to it, everything else only reads it.

const MOST_POINTS = 4000;
const MOST_TASKS = 40;
const MOST_EVENTS = 200;
export const SPAN_MS = 60000;

export class Store {
  constructor() {
    this.rounds = [];
    this.controls = [];
    this.forget();
  }

  forget() {
    this.head = {};
    this.rows = [];
    this.series = { at_ms: [] };
    this.points = [];
    this.timeline = [];
    this.events = new Map();
    this.calibration = [];
  }

  /** Take in an update; `full` ones begin anew. */
  apply(update) {
    if (update.full) this.forget();
    const { rows, series, points, timeline, events, calibration, rounds, controls, full, ...head } = update;
    Object.assign(this.head, head);
    for (const [stream, changed] of rows ?? []) this.rows[stream] = { ...this.rows[stream], ...changed };
    if (series) this.#extend(series);
    if (points?.length) this.points = this.points.concat(points).slice(-MOST_POINTS);
    if (timeline?.length) this.timeline = this.timeline.concat(timeline).slice(-MOST_TASKS);
    for (const event of events ?? []) this.events.set(event.number, event);
    while (this.events.size > MOST_EVENTS) this.events.delete(this.events.keys().next().value);
    if (calibration) this.calibration = calibration;
    if (rounds) this.rounds = rounds;
    if (controls) this.controls = controls;
  }

  /** New steps take the place of the page's own from `from_ms` on; what is too old is forgotten. */
  #extend(series) {
    const { from_ms, ...columns } = series;
    const kept = this.series.at_ms.findIndex((at) => at >= from_ms);
    const end = kept < 0 ? this.series.at_ms.length : kept;
    const last = columns.at_ms[columns.at_ms.length - 1];
    const begin = Math.max(this.series.at_ms.findIndex((at) => at >= last - SPAN_MS), 0);
    for (const [name, values] of Object.entries(columns)) {
      this.series[name] = (this.series[name] ?? []).slice(begin, end).concat(values);
    }
  }
}
