"""Answers to a file and to a real MQTT broker, which the test starts."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import sys
import threading

import pytest

from hasten.core.errors import HastenError, InputError
from hasten.runtime.device.answer_sinks import open_answers


@pytest.fixture
def broker():
    """``HOST:PORT`` of a broker that takes everybody."""
    amqtt = pytest.importorskip("amqtt.broker")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{sock.getsockname()[1]}"
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start():
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        serving = amqtt.Broker({"listeners": {"default": {"type": "tcp", "bind": place}}, "plugins": plugins})
        await serving.start()
        return serving

    serving = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield place
    asyncio.run_coroutine_threadsafe(serving.shutdown(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_every_answer_is_published(broker):
    mqtt = pytest.importorskip("paho.mqtt.client")
    came, listening = queue.Queue(), threading.Event()
    reader = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    reader.on_connect = lambda client, *rest: client.subscribe("site/cam 1", qos=1)
    reader.on_subscribe = lambda *rest: listening.set()
    reader.on_message = lambda client, data, message: came.put(json.loads(message.payload))
    host, port = broker.split(":")
    reader.connect(host, int(port))
    reader.loop_start()
    assert listening.wait(30)
    told = []
    sink = open_answers(f"mqtt://{broker}/site/cam%201", told.append)
    for number in range(20):
        sink.write({"frame": number, "class": None})
    sink.close()
    assert [came.get(timeout=30) for _ in range(20)] == [{"frame": number, "class": None} for number in range(20)]
    reader.disconnect()
    reader.loop_stop()
    assert told == []


def test_a_broker_that_is_not_there_is_told_once_and_costs_no_task(monkeypatch):
    pytest.importorskip("paho.mqtt.client")
    monkeypatch.setattr("hasten.runtime.device.answer_sinks.CLOSING_S", 0.2)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        told = []
        sink = open_answers(f"mqtt://127.0.0.1:{sock.getsockname()[1]}/topic", told.append)
        sink.write({"frame": 0})
        sink.close()
    assert len(told) == 1 and "MQTT broker 127.0.0.1" in told[0]


@pytest.mark.parametrize(
    "address", ["mqtt://", "mqtt://host", "mqtt://host/", "mqtt://host:99999/t", "mqtt://host/a/#"]
)
def test_addresses_that_are_none(address):
    with pytest.raises(InputError, match=r"expected mqtt://HOST\[:PORT\]/TOPIC"):
        open_answers(address, print)


def test_without_paho_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(HastenError, match=r"pip install 'hasten\[mqtt\]'"):
        open_answers("mqtt://host/topic", print)


def test_a_file_has_a_line_for_each(tmp_path):
    path = tmp_path / "answers.jsonl"
    sink = open_answers(str(path), print)
    sink.write({"frame": 0})
    sink.close()
    assert path.read_text() == '{"frame": 0}\n'
    with pytest.raises(InputError, match="answers"):
        open_answers(str(tmp_path / "absent" / "answers"), print)
    nowhere = open_answers(None, print)
    nowhere.write({"frame": 0})
    nowhere.close()
