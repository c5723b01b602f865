"""Scenarios of streams like the demo's, and the two worlds that must agree on them: simulator and virtual time."""

from __future__ import annotations

import numpy as np
from virtual_cases import profile

from hasten.core.scenario import scenario_from
from hasten.fidelity.conform import predict
from hasten.runtime.virtual.cluster import run_virtual_scenario

CONSTANT = {"kind": "constant", "mbps": 2}
VARYING = {"kind": "gauss_markov", "mean_mbps": 2, "sigma_mbps": 0.4, "memory": 0.95, "step_ms": 250}
"""Steps of a tenth of the mean."""


def scenario(folder, *, topology="shared", workers=1, rate=None, deadline_ms=400, streams=None, network=None, **given):
    """Three streams of 8 tasks a second; one task of full offloading takes 14 ms of the link and 10 of a worker."""
    (folder / "played.json").write_text((network or profile()).to_json())
    stream = {
        "name": "cam", "count": 3, "profile": str(folder / "played.json"), "deadline_ms": deadline_ms,
        "arrivals": {"kind": "poisson", "rate_hz": 8},
    }  # fmt: skip
    return scenario_from(
        {
            "schema": "hasten.scenario/1",
            "streams": streams or [stream],
            "uplink": {"topology": topology, "rtt_ms": 10, "rate": rate or CONSTANT},
            "edge": {"workers": workers},
            "tasks_per_stream": 150,
        }
        | given
    )


def urgent_and_not(folder, count=2, deadlines_ms=(60, 600), **given):
    """As :func:`scenario`, with so many streams of each deadline, and an edge that serves the earliest one first."""
    streams = [
        {
            "name": f"within {deadline_ms}", "count": count, "profile": str(folder / "played.json"),
            "deadline_ms": deadline_ms, "arrivals": {"kind": "poisson", "rate_hz": 12},
        }
        for deadline_ms in deadlines_ms
    ]  # fmt: skip
    rate = {"kind": "constant", "mbps": 8}
    uplink = {"topology": "dedicated", "order": "ready", "rtt_ms": 10, "rate": rate}
    edge = {"slowdown": 2.0, "queue": "deadline"}
    return scenario(folder, streams=streams, **({"uplink": uplink, "edge": edge} | given))


def fifo(scenario):
    """The same with an edge that serves first come, first served."""
    return scenario.model_copy(update={"edge": scenario.edge.model_copy(update={"queue": "fifo"})})


def both(scenario, *names, seeds=(0,)):
    """(simulated, virtual) results in the same order."""
    outcome = run_virtual_scenario(scenario, names, seeds)
    assert not outcome.failures
    return simulated_only(scenario, *names, seeds=seeds), outcome.results


def simulated_only(scenario, *names, seeds=(0,)):
    """What the simulator gives."""
    return predict(scenario, names, seeds, lambda text, done: None)


def assert_same(simulated, virtual):
    """The same decisions, and the same finishing times to a millionth of a millisecond."""
    for expected, found in zip(simulated, virtual, strict=True):
        np.testing.assert_array_equal(found.decisions, expected.decisions, err_msg=expected.scheduler)
        np.testing.assert_allclose(found.finish_ms, expected.finish_ms, rtol=0, atol=1e-6, err_msg=expected.scheduler)


def points(simulated, virtual) -> float:
    """On-time accuracy of the mean run in virtual time, less the simulated one, in points."""
    means = [np.mean([result.on_time_accuracy for result in side]) for side in (virtual, simulated)]
    return 100.0 * float(means[0] - means[1])
