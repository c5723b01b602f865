"""The live page with fifty streams: what an update costs the server and a browser, and how evenly updates come.

Synthetic tasks, ten a second in each stream, a minute of them at the start, then as they fall due. Chromium draws the
page headless; a page that takes far less than the 250 ms between two updates does not stutter.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time

import numpy as np
from playwright.sync_api import sync_playwright

from hasten.web.folder import Plain
from hasten.web.server import WebPlace, WebServer
from hasten.web.state import RoundState, StreamFacts
from hasten.web.tasks import ShownTask
from hasten.web.updates import Updates
from hasten.web.view import summary

RATE_HZ, HISTORY_S, DEADLINE_MS = 10.0, 60.0, 100.0
STAGES = (("device", 20.0), ("encode", 1.0), ("uplink", 25.0), ("edge", 12.0), ("downlink", 3.0))


class Synthetic:
    """A round of many streams whose tasks end as time passes, as a source for the page."""

    kind = "run"

    def __init__(self, streams: int) -> None:
        facts = [StreamFacts(f"stream-{m + 1}", DEADLINE_MS, 6, 12) for m in range(streams)]
        self.state = RoundState("synthetic", "greedy", 0, facts)
        self.state.began_s, self.state.ended = time.time() - HISTORY_S, False
        self.rounds = {"synthetic": self.state}
        self.took_ms: list[float] = []
        self.sizes: list[int] = []
        self._rng = random.Random(0)
        self._due_ms = [1000.0 * m / RATE_HZ / streams for m in range(streams)]
        self.refresh()

    def refresh(self) -> None:
        """Hear of the tasks that have ended."""
        now_ms = 1000.0 * (time.time() - self.state.began_s)
        fresh = []
        for m, due_ms in enumerate(self._due_ms):
            while due_ms < now_ms:
                fresh.append((m, self._task(due_ms)))
                due_ms += 1000.0 / RATE_HZ
            self._due_ms[m] = due_ms
        self.state.hear(fresh)

    def summaries(self) -> list[Plain]:
        """The one round in a line."""
        return [summary("synthetic", self.state)]

    def updates(self, name: str, stream: int) -> Timed:
        """For one page."""
        return Timed(self, Updates(self.state, stream))

    def _task(self, ended_ms: float) -> ShownTask:
        rng = self._rng
        latency_ms = rng.uniform(40.0, 115.0)
        on_time = latency_ms <= DEADLINE_MS
        return ShownTask(
            number=int(ended_ms),
            arrival_ms=ended_ms - latency_ms,
            ended_ms=ended_ms,
            deadline_ms=DEADLINE_MS,
            latency_ms=latency_ms,
            outcome="on_time" if on_time else "late",
            reason="answered",
            fallback="silent" if rng.random() < 0.05 else None,
            exit=rng.randint(1, 6),
            partition=rng.randint(0, 11),
            worth=float(on_time and rng.random() < 0.9),
            measured=True,
            promised=rng.random(),
            sent=True,
            rate_mbps=rng.uniform(2.0, 9.0),
            device_wait_ms=rng.uniform(0.0, 30.0),
            uplink_wait_ms=rng.uniform(0.0, 30.0),
            edge_wait_ms=rng.uniform(0.0, 30.0),
            stages=STAGES,
        )


class Timed:
    """Measures what an update costs the server."""

    def __init__(self, source: Synthetic, updates: Updates) -> None:
        self._source, self._updates = source, updates

    def update(self, at_ms: float | None = None) -> Plain:
        """What is new."""
        began = time.perf_counter()
        found = self._updates.update(at_ms)
        self._source.took_ms.append(1000.0 * (time.perf_counter() - began))
        self._source.sizes.append(len(json.dumps(found)))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=15.0)
    given = parser.parse_args()
    source = Synthetic(given.streams)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with WebServer(source, WebPlace()) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(server.address)
        page.wait_for_selector("#table tbody tr")
        page.wait_for_timeout(1000.0 * given.seconds)
        drawn = page.evaluate("performance.getEntriesByName('update').map((one) => [one.startTime, one.duration])")
        browser.close()
    start_ms, took_ms = np.array(drawn[3:]).T  # the first ones make the page
    server_ms, sizes = np.array(source.took_ms[2:]), np.array(source.sizes[2:])
    print(f"{given.streams} streams at {RATE_HZ:.0f} tasks a second, {len(took_ms)} updates in {given.seconds:.0f} s")
    for what, values in (
        ("browser, ms", took_ms),
        ("server, ms", server_ms),
        ("between updates, ms", np.diff(start_ms)),
    ):
        p50, p95, most = np.quantile(values, [0.5, 0.95, 1.0])
        print(f"  {what:20} p50 {p50:7.1f}   p95 {p95:7.1f}   longest {most:7.1f}")
    print(f"  {'sent, KB':20} p50 {np.median(sizes) / 1000.0:7.1f}   p95 {np.quantile(sizes, 0.95) / 1000.0:7.1f}")


if __name__ == "__main__":
    main()
