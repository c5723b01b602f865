// Gets updates (or a view at a time), applies them to the store, and has everything drawn once a frame.

import { Charts } from "./charts.js";
import { Controls } from "./controls.js";
import { Events, Rounds, Totals } from "./panels.js";
import { Store } from "./store.js";
import { Table } from "./table.js";
import { clock, shortName, write } from "./text.js";
import { Timeline } from "./timeline.js";

const get = (id) => document.getElementById(id);
const PLAY_MS = 250;

const page = { round: "", stream: -1, follow: true, at_ms: null, playing: null, source: null, lost: false, asking: false, again: false };
const store = new Store();
const charts = new Charts();
const timeline = new Timeline(get("timeline"), get("stages"));
const totals = new Totals(get("totals"));
const events = new Events(get("events"));
const controls = new Controls(get("controls"));
const table = new Table(get("table"), choose);
const rounds = new Rounds(get("rounds"), chooseRound);
let due = false;

if (location.search) history.replaceState(null, "", location.pathname);
begin();

/** See what there is: a round that goes on is followed, one that has ended is shown at its end. */
async function begin() {
  if (await ask()) {
    if (store.head.live) follow();
    else page.follow = false;
  } else follow(); // nothing yet
}

function query(more = {}) {
  return new URLSearchParams({ ...(page.round ? { round: page.round } : {}), stream: page.stream, ...more });
}

function take(update) {
  page.lost = false;
  store.apply(update);
  if (update.round !== undefined && update.full) get("round").value = update.round;
  drawSoon();
}

/** Updates as they happen. */
function follow() {
  stop();
  page.follow = true;
  page.source?.close();
  page.source = new EventSource(`api/updates?${query()}`);
  page.source.onmessage = (message) => take(JSON.parse(message.data));
  page.source.onerror = () => {
    page.lost = true;
    drawSoon();
  };
}

/** The view at `page.at_ms`; while one is on its way only the latest wish is remembered. */
async function ask() {
  if (page.asking) {
    page.again = true;
    return true;
  }
  page.asking = true;
  page.source?.close();
  page.source = null;
  try {
    do {
      page.again = false;
      const answer = await fetch(`api/view?${query(page.at_ms == null ? {} : { at_ms: page.at_ms })}`);
      if (!answer.ok) return false;
      take({ full: true, ...(await answer.json()) });
    } while (page.again);
    return true;
  } catch {
    page.lost = true;
    drawSoon();
    return false;
  } finally {
    page.asking = false;
  }
}

const refresh = () => (page.follow ? follow() : ask());

function choose(stream) {
  page.stream = stream === page.stream ? -1 : stream;
  refresh();
  drawSoon();
}

async function chooseRound(name) {
  stop();
  Object.assign(page, { round: name, at_ms: null, follow: false });
  await ask();
  if (store.head.live) follow();
}

function stop() {
  clearInterval(page.playing);
  page.playing = null;
}

function toggle() {
  if (page.playing) stop();
  else {
    const end = store.head.end_ms ?? 0;
    const from = page.at_ms ?? store.head.at_ms ?? 0;
    Object.assign(page, { follow: false, at_ms: from >= end - 1 ? 0 : from });
    page.playing = setInterval(() => {
      page.at_ms += PLAY_MS * Number(get("speed").value);
      if (page.at_ms >= (store.head.end_ms ?? 0)) {
        page.at_ms = store.head.end_ms;
        stop();
      }
      ask();
    }, PLAY_MS);
  }
  drawSoon();
}

function drawSoon() {
  if (!due) {
    due = true;
    requestAnimationFrame(draw);
  }
}

function draw() {
  due = false;
  const began = performance.now();
  const { head } = store;
  const kind = head.kind ?? "run";
  document.body.dataset.kind = kind;
  write(get("title"), [head.title, store.rounds.length < 2 && head.scheduler ? `${shortName(head.scheduler)}, seed ${head.seed}` : ""].filter(Boolean).join(" · "));
  drawStatus(head);
  drawRounds();
  totals.draw(kind, head.total);
  table.draw(kind, store.rows, page.stream);
  for (const node of document.querySelectorAll("[data-plot]")) node.hidden = hidden(kind, node.dataset.plot);
  drawLabels(kind);
  charts.draw(store);
  if (kind === "run") timeline.draw(store);
  events.draw(store.events, store.rows);
  controls.draw(store.controls);
  drawPlayer(kind, head);
  performance.measure("update", { start: began });
}

const OF_EDGE = ["accuracy", "load"];
const hidden = (kind, plot) => (kind === "edge" ? !OF_EDGE.includes(plot) : plot === "load" || (plot === "rounds" && store.rounds.length < 2));

function drawLabels(kind) {
  const name = page.stream < 0 ? "all streams" : store.rows[page.stream]?.name ?? "";
  document.querySelector(".streams").hidden = store.head.total?.by_device === false; // an edge seen by its metrics
  write(get("streams-title"), kind === "edge" ? `Devices (${store.rows.length})` : `Streams (${store.rows.length})`);
  write(get("chosen"), kind === "edge" || page.stream < 0 ? "" : `plots show ${name}`);
  for (const node of document.querySelectorAll(".of")) write(node, node.dataset.known === "no" ? `${name}: no promises in these logs yet` : name);
  write(get("events-title"), kind === "edge" ? "Told to the operator" : "Faults and fallbacks");
  if (kind === "edge") write(document.querySelector("[data-plot=accuracy] h2"), "Backlog of the least busy worker");
}

function drawStatus(head) {
  const status = get("status");
  const live = page.follow && head.live;
  status.className = `pill ${page.lost ? "lost" : live ? "live" : ""}`;
  write(status, page.lost ? "disconnected" : live ? "● live" : head.live ? "paused" : store.rows.length ? "finished" : "nothing yet");
  get("notice").hidden = !page.lost;
  if (page.lost) write(get("notice"), "The server does not answer: it has ended, or the way to it is broken. This is the last that was known.");
}

function drawRounds() {
  const select = get("round");
  get("round-pick").hidden = store.rounds.length < 2;
  const names = store.rounds.map((round) => round.name).join("\n");
  if (select.dataset.names !== names) {
    select.dataset.names = names;
    select.replaceChildren(...store.rounds.map((round) => new Option(`${shortName(round.scheduler || round.name)}, seed ${round.seed}`, round.name)));
    select.value = store.head.round ?? "";
  }
  rounds.draw(store.rounds, store.head.round);
}

function drawPlayer(kind, head) {
  get("player").hidden = kind === "edge" || !store.rows.length;
  const slider = get("time");
  slider.max = head.end_ms ?? 0;
  if (document.activeElement !== slider || page.playing || page.follow) slider.value = head.at_ms ?? 0;
  slider.setAttribute("aria-valuetext", clock(head.at_ms ?? 0));
  write(get("clock"), `${clock(head.at_ms ?? 0)} / ${clock(head.end_ms ?? 0)}`);
  write(get("play"), page.playing ? "❚❚" : "▶");
  get("play").setAttribute("aria-label", page.playing ? "Pause" : "Play");
  write(get("now"), head.live ? "Live" : "End");
}

get("round").addEventListener("change", (event) => chooseRound(event.target.value));
get("play").addEventListener("click", toggle);
get("time").addEventListener("input", (event) => {
  stop();
  Object.assign(page, { follow: false, at_ms: Number(event.target.value) });
  ask();
});
get("now").addEventListener("click", () => {
  stop();
  page.at_ms = null;
  if (store.head.live) follow();
  else ask();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && page.stream >= 0) choose(page.stream);
});
window.addEventListener("resize", drawSoon);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  charts.forget();
  drawSoon();
});
