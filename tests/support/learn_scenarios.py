"""The scenario that the tests of the learner share."""

import hasten as hs

SMALL = {
    "updates": 6,
    "round_updates": 3,
    "validate_every": 1,
    "runs": 2,
    "tasks": 40,
    "batches": 1,
    "batch": 8,
    "demonstrations": 60,
    "capacity": 200,
    "values": "actions",
    "hidden": (8,),
}
"""Settings of a training that takes a moment."""


def cameras(
    count=3,
    order="grant",
    topology="shared",
    workers=1,
    rtt_ms=0.0,
    rate=None,
    rate_hz=25,
    deadline_ms=120,
    tasks_per_stream=40,
):
    """Streams of AlexNet cameras."""
    return hs.scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": [
                {
                    "name": "cam",
                    "count": count,
                    "profile": "alexnet-pi",
                    "deadline_ms": deadline_ms,
                    "arrivals": {"kind": "poisson", "rate_hz": rate_hz},
                }
            ],
            "uplink": {
                "order": order,
                "topology": topology,
                "rtt_ms": rtt_ms,
                "rate": rate or {"kind": "constant", "mbps": 10},
            },
            "edge": {"slowdown": 4, "workers": workers},
            "tasks_per_stream": tasks_per_stream,
        }
    )
