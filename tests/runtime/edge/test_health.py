"""The health endpoint: live, ready, and no trouble from whoever asks."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from hasten.core.errors import InputError
from hasten.runtime.edge.health import MAX_ASKING, HealthServer
from hasten.runtime.edge.opened import EdgePlan, OpenedEdge
from hasten.runtime.notes import Notes
from hasten.runtime.place import ListenPlace


class Edge:
    closed = False


def with_health(scenario, edge=None):
    async def run():
        health = await HealthServer.open(ListenPlace("127.0.0.1", 0), edge or Edge())
        try:
            return await scenario(health)
        finally:
            await health.close()

    return asyncio.run(run())


async def asked(health, request):
    """The status line's number and the body."""
    reader, writer = await asyncio.open_connection(*health.place)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else None, body.decode().strip()


def get(path, method="GET"):
    return f"{method} {path} HTTP/1.1\r\nHost: edge\r\n\r\n".encode()


def test_an_edge_is_ready_until_it_ends_and_lives_all_the_while():
    edge = Edge()

    async def scenario(health):
        before = await asked(health, get("/v2/health/ready")), await asked(health, get("/v2/health/live?verbose"))
        edge.closed = True
        return *before, await asked(health, get("/v2/health/ready")), await asked(health, get("/v2/health/live"))

    assert with_health(scenario, edge) == ((200, "ready"), (200, "live"), (503, "the edge ends"), (200, "live"))


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (get("/"), (404, "expected /v2/health/live or /v2/health/ready")),
        (get("/v2/health/live", "POST"), (405, "expected GET")),
        (get("/v2/health/live", "HEAD"), (200, "")),
        (b"HELO edge\r\n\r\n", (400, "expected a request of HTTP/1.1")),
        (b"x" * 10_000 + b"\r\n\r\n", (None, "")),
    ],
)
def test_other_requests_are_answered_in_a_word_or_not_at_all(request_bytes, answer):
    async def scenario(health):
        with contextlib.suppress(ConnectionError):
            return await asked(health, request_bytes)
        return None, ""

    assert with_health(scenario) == answer


def test_many_that_ask_nothing_take_no_more_than_their_places():
    async def scenario(health):
        silent = [await asyncio.open_connection(*health.place) for _ in range(MAX_ASKING)]
        while health._asking < MAX_ASKING:
            await asyncio.sleep(0.001)
        try:
            refused = await asked(health, get("/v2/health/live"))
        except ConnectionError:  # what is unread at the end resets the connection
            refused = None, ""
        for _, writer in silent:
            writer.close()
        while health._asking:
            await asyncio.sleep(0.001)
        return refused, await asked(health, get("/v2/health/live"))

    assert with_health(scenario) == ((None, ""), (200, "live"))


def test_an_edge_opens_it_and_a_port_in_use_is_one_line(package):
    async def run():
        edge = OpenedEdge([package], EdgePlan(port=0, health="127.0.0.1:0"), Notes(print))
        await edge.start()
        try:
            taken = edge.health.place
            second = OpenedEdge([package], EdgePlan(port=0, health=str(taken)), Notes(print))
            with pytest.raises(InputError, match="a free port"):
                await second.start()
            return await asked(edge.health, get("/v2/health/ready"))
        finally:
            await edge.close()

    assert asyncio.run(run()) == (200, "ready")


def test_it_ends_with_the_edge_even_if_replicas_cannot_be_deleted(package):
    class Gone:
        async def close(self):
            raise RuntimeError("the cluster has gone")

    async def run():
        edge = OpenedEdge([package], EdgePlan(port=0, health="127.0.0.1:0"), Notes(print))
        await edge.start()
        edge._replicated = Gone()
        with pytest.raises(RuntimeError, match="the cluster has gone"):
            await edge.close()
        with pytest.raises(OSError):
            await asked(edge.health, get("/v2/health/live"))

    asyncio.run(run())
