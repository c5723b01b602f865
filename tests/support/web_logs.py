"""Task logs as devices write them."""

from __future__ import annotations

import json


def logged(task, arrival_ms, latency_ms, **more):
    """A line's data: an offloaded task of exit 2 cut after block 1, on time and right unless told otherwise."""
    answered = latency_ms is not None
    line = {
        "schema": "hasten.tasks/1",
        "task": task,
        "arrival_ms": arrival_ms,
        "label": 3,
        "option": 4,
        "exit": 2,
        "partition": 1,
        "predicted_ms": 60.0,
        "promised": 0.9,
        "note": None,
        "seen": {
            "now_ms": arrival_ms,
            "device_wait_ms": 4.0,
            "uplink_wait_ms": 2.0,
            "edge_wait_ms": [1.0, 8.0],
            "rate_bits_per_ms": 5000.0,
        },
        "facts": {
            "plan": 1,
            "from_ms": 0.0,
            "rtt_ms": 2.0,
            "workers": 1,
            "edge_slowdown": 1.0,
            "slowdown": 1.0,
            "rate_hz": 10.0,
            "stream": 0,
            "streams": 2,
            "shared_uplink": False,
            "gain_terms": [0.0, 0.0, 0.0],
            "energy_weight_per_mj": 0.0,
        },
        "parts": {"wake": 1.0, "device": 20.0, "encode": 1.0, "uplink": 10.0, "edge": 5.0},
        "outcome": "on_time" if answered else "dropped",
        "reason": "answered" if answered else "expired",
        "fallback": None,
        "latency_ms": latency_ms,
        "deadline_ms": 100.0,
        "answered_exit": 2 if answered else 0,
        "answered_partition": 1 if answered else 0,
        "class": 3 if answered else None,
        "correct": True if answered else None,
    }
    return line | more


def write_logs(folder):
    """Two streams under greedy, seed 0: 40 tasks each, four a second, every fourth of the second dropped."""
    for name, lost in (("cam-1", 0), ("cam-2", 4)):
        lines = [logged(n, 250.0 * n, None if lost and n % lost == 0 else 50.0) for n in range(40)]
        (folder / f"greedy-0-{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def told_round(ended=True, **more):
    """What a run tells of a round of two streams."""
    streams = [
        {
            "name": name,
            "log": f"greedy-0-{name}.jsonl",
            "deadline_ms": 100.0,
            "blocks": 4,
            "exits": ["a", "b"],
            "accuracy": [[1, 0, 0.5], [2, 1, 0.8]],
        }
        for name in ("cam-1", "cam-2")
    ]
    links = [{"from_ms": [0.0, 5000.0], "mbps": [4.0, 8.0], "period_ms": None}]
    return {
        "schema": "hasten.round/1",
        "scenario": "two cameras",
        "scheduler": "greedy",
        "seed": 0,
        "began_s": 1000.0,
        "ended": ended,
        "streams": streams,
        "links": links,
    } | more
