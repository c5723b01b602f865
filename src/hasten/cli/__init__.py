"""The command line. Thin: each command, in a file of its own, reads its arguments, calls one function and shows what
came back.
"""

from __future__ import annotations

from hasten.cli.app import app, main

# Each import adds its command; the help lists them in this order.
# isort: off
from hasten.cli import (
    demo,
    build,
    inspect,
    verify,
    export,
    profile,
    simulate,
    solve,
    train,
    run,
    conform,
    study,
    edge,
    device,
    web,
    trace,
    doctor,
)
# isort: on

__all__ = [
    "app", "build", "conform", "demo", "device", "doctor", "edge", "export", "inspect", "main", "profile", "run",
    "simulate", "solve", "study", "trace", "train", "verify", "web",
]  # fmt: skip
