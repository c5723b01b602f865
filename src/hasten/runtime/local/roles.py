"""Processes of a run on one machine: ``python -m hasten.runtime.local.roles edge|relay|device``.

A child handles JSON messages from its standard input and answers on its standard output, one line each. It ends when
its input ends, so no child outlives the process that started it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from hasten.core.arrivals import Arrivals
from hasten.core.errors import HastenError
from hasten.core.gain import GainTerms
from hasten.core.profile import batching, read_profile
from hasten.core.rates import rate_trace
from hasten.runtime.sockets import run_loop

if TYPE_CHECKING:
    from hasten.runtime.device.dialing import NetworkDialer
    from hasten.runtime.device.tasks import Arrival

Message = dict[str, Any]
Handler = Callable[[Message], Awaitable[Message]]
REPORT_EVERY_S = 0.5
END_S = 0.5
"""From the end of the input to the end of the process, at most."""


def send(message: Message) -> None:
    """Write one line to the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class EdgeProcess:
    """Serves packages."""

    async def start(self, message: Message) -> Message:
        """Open the packages and listen."""
        from hasten.core.edge_order import QUEUES
        from hasten.runtime.edge.server import real_core, start_edge
        from hasten.split.package import open_package

        packages = [open_package(path) for path in message["packages"]]
        profiles = [
            batching(read_profile(Path(path)) if path else package.profile, message["batch"])
            for path, package in zip(message["profiles"], packages, strict=True)
        ]
        order = QUEUES[message["queue"]]
        core = real_core(packages, message["workers"], message["slowdown"], profiles, order=order)
        self._server = await start_edge(core, port=message["port"])
        return {"port": self._server.port}


class RelayProcess:
    """Emulates the link."""

    async def start(self, message: Message) -> Message:
        """Listen for devices."""
        from hasten.runtime.clock import SystemClock
        from hasten.runtime.local.link import Relay

        clock = SystemClock(asyncio.get_running_loop())
        self._relay = Relay(message["host"], message["port"], message["rtt_ms"], clock)
        await self._relay.listen(message["devices"])
        return {"ports": self._relay.ports}

    async def load(self, message: Message) -> Message:
        """Take the link's rates."""
        self._relay.load(
            [
                rate_trace(
                    np.array(trace["from_ms"]),
                    np.array(trace["bits_per_ms"]),
                    np.inf if trace["period_ms"] is None else trace["period_ms"],
                )
                for trace in message["traces"]
            ]
        )
        return {}

    async def begin(self, message: Message) -> Message:
        """Time 0 is at ``at_ms``."""
        self._relay.start(message["at_ms"])
        return {}

    async def scale(self, message: Message) -> Message:
        """Multiply the links' rates."""
        self._relay.scale(message["factor"])
        return {}

    async def fault(self, message: Message) -> Message:
        """``silent``: swallow everything, or stop to; ``cut``: break every connection."""
        if message["kind"] == "cut":
            self._relay.cut()
        else:
            self._relay.silent = message["on"]
        return {}


class DeviceProcess:
    """Runs an agent, round after round.

    Attributes:
        at_once: orders that do not wait until the round has ended; they are not answered.
    """

    at_once = ("pace", "scheduler")

    def pace(self, message: Message) -> None:
        """Have tasks arrive so many times as fast as planned, from the next gap between two on."""
        self._pace = message["pace"]

    def scheduler(self, message: Message) -> None:
        """Have another scheduler decide from the next task on, if it can."""
        from hasten.schedulers import make_scheduler

        try:
            self._agent.take_over(make_scheduler(message["name"]))
        except HastenError as error:
            send({"refused": str(error)})

    async def start(self, message: Message) -> Message:
        """Open the package and warm every segment up."""
        from hasten.split.executor import Executor
        from hasten.split.package import open_package

        self._package = open_package(message["package"])
        profile = read_profile(Path(message["profile"])) if message["profile"] else self._package.profile
        self._profile = profile.stopping(message["max_accuracy_loss"])
        self._executor = Executor(self._package, role="device", stops=self._profile.confidence is not None)
        self._executor.warm()
        return {}

    async def prepare(self, message: Message) -> Message:
        """Set up an agent for one round: connect, measure the link, reset the scheduler."""
        from hasten.runtime.device.agent import DeviceAgent
        from hasten.runtime.device.settings import AgentSettings
        from hasten.runtime.device.sources import SAMPLES, open_source
        from hasten.runtime.device.tasklog import TaskLog
        from hasten.runtime.device.uplink import Uplink
        from hasten.runtime.wire.handshake import Hello
        from hasten.schedulers import make_scheduler

        given = dict(message["settings"])
        given["arrivals"] = TypeAdapter(Arrivals).validate_python(given["arrivals"])
        given["gain_terms"] = GainTerms(*given["gain_terms"])
        settings = AgentSettings(**given)
        frames = open_source(SAMPLES, self._package)
        self._pace = 1.0
        self._tasks = frames.arrivals(np.array(message["arrival_ms"]), settings.seed, settings.stream)
        self._log = TaskLog(Path(message["log"]))
        hello = Hello(bytes.fromhex(self._package.digest), b"", message["name"])
        self._agent = DeviceAgent(
            self._package,
            self._executor,
            make_scheduler(message["scheduler"]),
            settings,
            [partial(Uplink, _dialer(*edge), hello) for edge in message["edges"]],
            self._profile,
        )
        await self._agent.prepare()
        return {}

    async def run(self, message: Message) -> Message:
        """Run the round from ``at_ms`` on; tells how many tasks are done now and then."""
        done, told_s = 0, time.monotonic()

        def count(task: object) -> None:
            nonlocal done, told_s
            done += 1
            if time.monotonic() - told_s > REPORT_EVERY_S:
                told_s = time.monotonic()
                send({"done": done})

        try:
            await self._agent.run(self._paced(self._tasks), message["at_ms"], self._log, count)
        finally:
            self._log.close()
            await self._agent.close()
        if failure := self._agent.failure or self._log.trouble:
            raise HastenError(failure)
        return {"tasks": done}

    def _paced(self, tasks: Iterable[Arrival]) -> Iterator[Arrival]:
        """The tasks with the gaps between them as ``pace`` has them; exactly as planned where that was never set."""
        before_ms = later_ms = 0.0
        for task in tasks:
            later_ms += (task.at_ms - before_ms) * (1.0 / self._pace - 1.0)
            before_ms = task.at_ms
            yield task if later_ms == 0.0 else replace(task, at_ms=task.at_ms + later_ms)


def _dialer(name: str | None, host: str, port: int) -> NetworkDialer:
    """To an edge, which is called by its address if it has no name."""
    from hasten.runtime.device.dialing import NetworkDialer

    dialer = NetworkDialer(host, port, None)
    dialer.where = name or dialer.where
    return dialer


ROLES: dict[str, Callable[[], Any]] = {"edge": EdgeProcess, "relay": RelayProcess, "device": DeviceProcess}


async def handle(role: Any) -> None:
    """Handle messages in order until the input ends."""
    loop = asyncio.get_running_loop()
    orders: asyncio.Queue[Message] = asyncio.Queue()
    at_once = getattr(role, "at_once", ())

    def take(line: str) -> None:
        message = json.loads(line)
        if message["do"] in at_once:
            getattr(role, message.pop("do"))(message)
        else:
            orders.put_nowait(message)

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(take, line)
        # The parent is gone or done; whatever runs, nobody is interested any more.
        sys.stdout = None
        signal.raise_signal(signal.SIGTERM)
        time.sleep(END_S)
        os._exit(1)  # a loop that is held up, or a thread that computes, is not waited for

    threading.Thread(target=read, name="handle", daemon=True).start()
    while True:
        message = await orders.get()
        method: Handler = getattr(role, message.pop("do"))
        try:
            answer = await method(message)
        except HastenError as error:
            send({"error": str(error)})
        else:
            send({"ok": True, **answer})


def main() -> None:
    """Entry of a child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes our input
    run_loop(handle(ROLES[sys.argv[1]]()))


if __name__ == "__main__":
    main()
