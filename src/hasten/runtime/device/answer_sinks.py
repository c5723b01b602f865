"""Where ``hasten device`` tells of answers: a file or standard output, one JSON line each, or an MQTT broker.

None of them holds up a task: lines are written and messages sent beside the event loop, and what a full disk or an
absent broker costs is lines.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from hasten.core.errors import HastenError, InputError
from hasten.runtime.device.tasklog import CLOSING_S, MOST_WAITING, TaskLog

MQTT = "mqtt://"
MQTT_PORT = 1883


class AnswerSink(Protocol):
    """Takes the plain data of each answer."""

    def write(self, record: dict[str, Any]) -> None:
        """Tell of an answer; never fails and never waits."""

    def close(self) -> None:
        """Tell what waits, for a moment, and end."""


def open_answers(target: str | None, tell: Callable[[str], None]) -> AnswerSink:
    """The sink of this name: a file, ``-``, ``mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC``, or None for nowhere.

    ``tell`` is told, in words and once, when answers are lost.

    Raises:
        InputError: the file cannot be written, or this is no such address.
        HastenError: what MQTT needs is not installed.
    """
    if target is not None and target.startswith(MQTT):
        return MqttAnswers(target, tell)
    lines = TaskLog(Path(target) if target is not None else None, what="answers")
    lines.on_trouble = tell
    return lines


class MqttAnswers:
    """Publishes each answer as JSON. A broker that cannot be reached is tried again; some answers wait for it."""

    def __init__(self, address: str, tell: Callable[[str], None]) -> None:
        parts = urlsplit(address)
        topic = unquote(parts.path.removeprefix("/"))
        try:
            port = parts.port or MQTT_PORT
        except ValueError:
            port = 0
        if not parts.hostname or not port or not topic or "+" in topic or set("?#") & set(address):
            raise InputError("device", "answers", f"{MQTT}{parts.hostname or ''}...", f"{MQTT}HOST[:PORT]/TOPIC")
        try:
            mqtt = import_module("paho.mqtt.client")
        except ImportError as error:
            raise HastenError(f"mqtt:// needs paho-mqtt: pip install 'hasten[mqtt]' ({error})") from None
        self._topic, self._tell, self._where = topic, tell, f"{parts.hostname}:{port}"
        self._told = False
        self._changed = threading.Condition()
        self._waiting = 0
        self._client: Any = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if parts.username is not None:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        self._client.max_queued_messages_set(MOST_WAITING)
        self._client.on_connect_fail = lambda client, data: self._trouble("cannot be reached; tried again")
        self._client.on_connect, self._client.on_publish = self._connected, self._published
        self._lost = mqtt.MQTT_ERR_QUEUE_SIZE
        self._client.connect_async(parts.hostname, port)
        self._client.loop_start()

    def write(self, record: dict[str, Any]) -> None:
        """Hand a message to the client's thread, which keeps it while there is no connection."""
        with self._changed:
            self._waiting += 1
        if self._client.publish(self._topic, json.dumps(record, allow_nan=False), qos=1).rc == self._lost:
            self._taken()
            self._trouble("is too slow or away; answers are left out")

    def close(self) -> None:
        """Send what waits, for a moment, and disconnect."""
        with self._changed:
            everything = self._changed.wait_for(lambda: self._waiting == 0, CLOSING_S)
        if not everything:
            self._trouble(f"has not taken the last {self._waiting} answers")
        self._client.disconnect()
        self._client.loop_stop()

    def _published(self, *told: Any) -> None:
        self._taken()

    def _taken(self) -> None:
        with self._changed:
            self._waiting -= 1
            self._changed.notify()

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._trouble(f"refused the connection: {reason}")

    def _trouble(self, what: str) -> None:
        if not self._told:
            self._told = True
            self._tell(f"answers: MQTT broker {self._where} {what}")
