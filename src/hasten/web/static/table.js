// The streams as a table: one row each, chosen by click or arrow keys.

import { count, dash, element, mbps, ms, percent, share, write } from "./text.js";

/** Shows a part of a whole as a bar beside its number. */
function bar(node, part, over = false) {
  const fill = node.firstChild;
  fill.style.width = `${Math.max(0, Math.min(1, part ?? 0)) * 100}%`;
  fill.className = over ? "over" : "";
}

const plain = (classes, show) => ({
  classes,
  make: (cell) => cell,
  fill: (cell, row) => write(cell, show(row)),
});

/** `warns`: more than the whole is shown as too much. */
const withBar = (show, part, warns = false) => ({
  make(cell) {
    const text = element("span");
    const rail = element("span", "bar", element("i"));
    cell.append(text, rail);
    return { text, rail };
  },
  fill({ text, rail }, row) {
    write(text, show(row));
    bar(rail, part(row), warns && part(row) > 1);
  },
});

const COLUMNS = {
  run: [
    { title: "stream", ...plain("", (row) => row.name) },
    {
      title: "usual choice now",
      classes: "words",
      make(cell) {
        const text = element("span");
        const cut = element("span", "bar cut", element("i"));
        cell.append(text, cut);
        return { text, cut };
      },
      fill({ text, cut }, row) {
        const none = !row.exit;
        const blocks = row.blocks ?? null;
        const where = { device: "on the device", edge: "at the edge", split: `cut after ${row.partition}${blocks ? ` of ${blocks}` : ""}` };
        write(text, row.exit == null ? dash : none ? `dropped (${percent(row.choice_share)})` : `exit ${row.exit} of ${row.exits}, ${where[row.place]} (${percent(row.choice_share)})`);
        cut.hidden = !blocks;
        cut.classList.toggle("none", none);
        bar(cut, none ? 0 : row.place === "device" ? 1 : row.partition / blocks);
        cut.title = none ? "" : `${row.partition} blocks on the device (blue), the rest at the edge (green)`;
      },
    },
    { title: "on-time accuracy now", ...withBar((row) => share(row.accuracy_now), (row) => row.accuracy_now) },
    { title: "so far", ...plain("optional", (row) => share(row.accuracy)) },
    { title: "p95 / deadline, ms", ...withBar((row) => `${ms(row.p95_ms)} / ${ms(row.deadline_ms)}`, (row) => row.p95_ms / row.deadline_ms, true) },
    { title: "link believed (shaped), Mbit/s", ...plain("optional", (row) => `${mbps(row.rate_mbps)}${row.shaped_mbps == null ? "" : ` (${mbps(row.shaped_mbps)})`}`) },
    { title: "backlogs D · U · E, ms", ...plain("optional", (row) => `${ms(row.device_wait_ms)} · ${ms(row.uplink_wait_ms)} · ${ms(row.edge_wait_ms)}`) },
    { title: "tasks", ...plain("optional", (row) => count(row.tasks)) },
    { title: "late", ...plain("optional", (row) => percent(row.late, 1)) },
    { title: "dropped", ...plain("optional", (row) => percent(row.dropped, 1)) },
  ],
  edge: [
    { title: "device", ...plain("", (row) => row.name) },
    { title: "address", ...plain("words optional", (row) => row.address) },
    { title: "connected", ...plain("words", (row) => (row.connected ? `for ${row.connected_s.toFixed(0)} s` : "gone")) },
    { title: "tasks", ...plain("", (row) => count(row.tasks)) },
    { title: "a second now", ...plain("", (row) => (row.rate_hz == null ? dash : row.rate_hz.toFixed(1))) },
    { title: "too late", ...plain("", (row) => count(row.late)) },
    { title: "refused", ...plain("", (row) => count(row.refused)) },
    { title: "wait p95, ms", ...plain("optional", (row) => ms(row.wait_p95_ms)) },
    { title: "share of a worker now", ...withBar((row) => percent(row.load), (row) => row.load) },
  ],
};

export class Table {
  constructor(node, choose) {
    this.node = node;
    this.choose = choose;
    this.rows = [];
    this.kind = null;
    node.addEventListener("keydown", (event) => this.#key(event));
  }

  draw(kind, rows, chosen) {
    if (kind !== this.kind || rows.length < this.rows.length) this.#begin(kind);
    while (this.rows.length < rows.length) this.#add(rows.length);
    this.rows.forEach((made, stream) => {
      if (made.shown !== rows[stream]) this.columns.forEach((column, i) => column.fill(made.cells[i], rows[stream]));
      made.shown = rows[stream];
      const selected = String(stream === chosen);
      if (made.node.getAttribute("aria-selected") !== selected) made.node.setAttribute("aria-selected", selected);
      made.node.tabIndex = stream === Math.max(chosen, 0) ? 0 : -1;
    });
  }

  #begin(kind) {
    this.kind = kind;
    this.columns = COLUMNS[kind];
    this.rows = [];
    const head = element("tr");
    for (const column of this.columns) {
      const cell = element("th", column.classes, column.title);
      cell.scope = "col";
      head.append(cell);
    }
    this.body = element("tbody");
    this.node.replaceChildren(element("thead", "", head), this.body);
    this.node.setAttribute("role", "grid");
  }

  #add() {
    const stream = this.rows.length;
    const node = element("tr");
    node.setAttribute("role", "row"); // also where a phone shows it as a card
    const cells = this.columns.map((column) => {
      const cell = element("td", column.classes);
      cell.setAttribute("role", "gridcell");
      cell.dataset.title = column.title;
      node.append(cell);
      return column.make(cell);
    });
    node.addEventListener("click", () => this.choose(stream));
    this.body.append(node);
    this.rows.push({ node, cells, shown: null });
  }

  #key(event) {
    const at = this.rows.findIndex((row) => row.node === document.activeElement);
    if (at < 0) return;
    const last = this.rows.length - 1;
    const goal = { ArrowDown: Math.min(at + 1, last), ArrowUp: Math.max(at - 1, 0), Home: 0, End: last, Enter: at, " ": at }[event.key];
    if (goal === undefined) return;
    event.preventDefault();
    this.rows[goal].node.focus();
    this.choose(goal);
  }
}
