"""``hasten doctor``: what this machine is, what is missing or in the way, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np

import hasten
from hasten.core.files import data_folder
from hasten.runtime.pace import sharpen_sleep

Health = Literal["ok", "note", "problem"]
EXTRAS = {
    "plan": ("numba", "gymnasium"),
    "build": ("torch", "onnx", "onnxscript", "onnx-ir", "scikit-learn", "pillow"),
    "learn": ("numba", "threadpoolctl"),
    "report": ("matplotlib",),
    "notebook": ("pandas", "matplotlib"),
    "study": ("pyarrow", "scipy"),
    "web": ("starlette", "uvicorn"),
    "camera": ("opencv-python-headless",),
    "mqtt": ("paho-mqtt",),
    "metrics": ("prometheus-client",),
    "otel": ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
    "oip": ("grpcio", "protobuf", "starlette", "uvicorn"),
    "fast": ("uvloop",),
    "serve": ("ray",),
}
"""What each extra of the installation brings."""
SLEEPS, SLEEP_MS, LATE_MS = 50, 1.0, 1.0
BUSY_SHARE = 0.5
"""Of the cores: from so much load on by other programs, real runs are late by it."""
DESCRIPTORS = 1100
"""What an edge with its default number of devices may open."""
FREE_MB = 500


@dataclass(frozen=True)
class Examined:
    """One thing that was looked at.

    Attributes:
        what: is looked at.
        health: ``problem`` where something that hasten does will fail, ``note`` where it is only worse.
        found: as it is.
        do: about it; empty where nothing need be done.
    """

    what: str
    health: Health
    found: str
    do: str = ""


def examine() -> list[Examined]:
    """Look at everything; takes about a second."""
    extras = [_extra(name, packages) for name, packages in EXTRAS.items()]
    return [_versions(), *extras, _cores(), _timer(), _cache(), _data(), _loopback(), _descriptors(), _disk()]


def _versions() -> Examined:
    found = f"hasten {hasten.__version__}, Python {platform.python_version()}, numpy {np.__version__}, "
    found += f"onnxruntime {metadata.version('onnxruntime')}, {platform.system()} {platform.machine()}"
    return Examined("versions", "ok", found)


def _extra(name: str, packages: tuple[str, ...]) -> Examined:
    have, missing = [], []
    for package in packages:
        try:
            have.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            missing.append(package)
    if not missing:
        return Examined(f"hasten[{name}]", "ok", ", ".join(have))
    return Examined(f"hasten[{name}]", "note", f"without {', '.join(missing)}", f"pip install 'hasten[{name}]'")


def _cores() -> Examined:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    found = f"{cores} for this process, load {load:.1f} in the last minute"
    if cores < 2:
        return Examined("cores", "note", found, "device and edge on one machine take turns: use two cores or machines")
    if load > BUSY_SHARE * cores:
        return Examined("cores", "note", found, "end other programs before you profile, run, conform or measure")
    return Examined("cores", "ok", found)


def _timer() -> Examined:
    sharpen_sleep()
    late_ms = []
    for _ in range(SLEEPS):
        began_s = time.perf_counter()
        time.sleep(SLEEP_MS / 1000.0)
        late_ms.append((time.perf_counter() - began_s) * 1000.0 - SLEEP_MS)
    median_ms, p95_ms = np.percentile(late_ms, (50, 95))
    found = f"sleeps end {median_ms:.2f} ms late (p50), {p95_ms:.2f} ms (p95)"
    if p95_ms > LATE_MS:
        return Examined("timer", "note", found, "real runs are as late: a quieter machine, or longer deadlines")
    return Examined("timer", "ok", found)


def _cache() -> Examined:
    try:
        from hasten.core.compiled import cache_folder
    except ModuleNotFoundError:
        return Examined("cache of compiled code", "note", "not needed without hasten[plan]")
    folder = cache_folder()
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return Examined("cache of compiled code", "ok", str(folder))
        except OSError:
            pass
    told = "no folder that can be written" if folder is None else f"{folder} cannot be written"
    return Examined("cache of compiled code", "note", told, "set NUMBA_CACHE_DIR, or every start compiles anew")


def _data() -> Examined:
    folder = data_folder()
    if folder is not None:
        return Examined("recorded data", "ok", str(folder.resolve()))
    named = os.environ.get("HASTEN_DATA")
    if named:
        return Examined(
            "recorded data", "problem", f"HASTEN_DATA is {named}, which is no folder", "correct or unset it"
        )
    return Examined(
        "recorded data", "note", "none", "set HASTEN_DATA to a folder of recordings; demo and tests need none"
    )


def _loopback() -> Examined:
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), timeout=2.0):
                return Examined("sockets and shaped links", "ok", "loopback works; links are shaped without root")
    except OSError as error:
        told = f"no connection on 127.0.0.1: {error.strerror or error}"
        return Examined(
            "sockets and shaped links", "problem", told, "demo, run and conform need the loopback interface"
        )


def _descriptors() -> Examined:
    try:
        import resource
    except ImportError:
        return Examined("file descriptors", "ok", "this system has no such limit")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    found = f"{soft}, may be raised to {'any' if most == sys.maxsize else most}"
    if most < DESCRIPTORS:
        return Examined("file descriptors", "note", found, "an edge takes fewer than 1,000 devices: raise ulimit -n")
    return Examined("file descriptors", "ok", found)


def _disk() -> Examined:
    folder = Path(tempfile.gettempdir())
    free_mb = shutil.disk_usage(folder).free >> 20
    if free_mb < FREE_MB:
        return Examined("disk", "problem", f"{free_mb} MB free in {folder}", "make room, or set TMPDIR")
    return Examined("disk", "ok", f"{free_mb} MB free in {folder}")
