"""What must hold for the label-setting search beyond its value: pruning loses nothing, limits, monotonicity."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from random_instances import Case, random_case

from hasten.core.gain import PLAIN_ACCURACY, task_gain, useful_until_ms
from hasten.core.options import DROP
from hasten.core.rates import RateTrace, rate_trace
from hasten.offline.exact import search as exact
from hasten.offline.exact.search import beam_search, exact_search
from hasten.offline.instance import evaluate
from hasten.offline.time_limit import TimeLimit


def plain_dp(case: Case) -> float:
    """Label setting with nothing but dominance by free times: no clipping, no prices, no bounds, all options."""
    table, streams, late_gain = case.table, case.table.streams, case.gain_terms.late_gain
    links = 1 if case.shared else streams
    labels = [(0.0, (0.0,) * (streams + links + case.workers))]
    for now, m in zip(case.arrival_ms, case.stream, strict=True):
        link, edge = streams + (0 if case.shared else m), streams + links
        grown = [(value + late_gain, state) for value, state in labels]
        for value, state in labels:
            for j in range(table.count[m]):
                after = list(state)
                answer = after[m] = max(now, state[m]) + table.device_ms[m, j]
                if table.payload_bits[m, j] > 0:
                    trace = case.traces[link - streams]
                    after[link] = trace.transfer_end(max(after[m], state[link]), table.payload_bits[m, j])
                    end = max(after[link] + case.rtt_ms / 2, state[edge]) + table.edge_ms[m, j]
                    after[edge:] = sorted([*state[edge + 1 :], end])
                    answer = end + case.rtt_ms / 2
                deadline = case.deadline_ms[m]
                if answer - now <= useful_until_ms(deadline, case.gain_terms.fade) + 1e-6:
                    gain = float(task_gain(table.worth[m, j], answer - now, deadline, *case.gain_terms))
                    grown.append((value + gain, tuple(after)))
        labels = []
        for value, state in sorted(grown, key=lambda label: -label[0]):
            if not any(v >= value - 1e-12 and all(a <= b for a, b in zip(s, state, strict=True)) for v, s in labels):
                labels.append((value, state))
    return max(value for value, _ in labels)


def total(case: Case, gain: float) -> float:
    """A sum of gains above dropping as a sum of gains."""
    return gain + len(case.arrival_ms) * case.gain_terms.late_gain


@pytest.mark.parametrize("seed", range(80))
def test_pruning_loses_nothing(seed: int) -> None:
    case = random_case(np.random.default_rng([11, seed]), tasks=8, blocks=1, exits=1)
    value = plain_dp(case)
    assert total(case, exact_search(case.instance()).gain) == pytest.approx(value, abs=1e-7)
    assert total(case, exact_search(case.instance(pruned=False)).gain) == pytest.approx(value, abs=1e-7)
    beam = beam_search(case.instance(), 3)
    assert total(case, beam.gain) <= value + 1e-7
    pruned_by_beam = exact_search(case.instance(), incumbent=beam.gain)
    assert total(case, max(pruned_by_beam.gain, beam.gain)) == pytest.approx(value, abs=1e-7)
    assert pruned_by_beam.work <= exact_search(case.instance()).work


def long_case(seed: int, tasks: int = 300) -> Case:
    return random_case(np.random.default_rng([13, seed]), tasks, blocks=3, exits=3, spoilt=False)


@pytest.mark.parametrize("seed", range(10))
def test_optimum_grows_with_deadline_rate_and_edge_speed(seed: int) -> None:
    case = long_case(seed, tasks=60)
    case.gain_terms = PLAIN_ACCURACY
    value = exact_search(case.instance()).gain

    def faster(trace: RateTrace) -> RateTrace:
        return rate_trace(trace.from_ms, 1.5 * trace.bits_per_ms, trace.period_ms)

    easier = [
        dataclasses.replace(case, deadline_ms=1.2 * case.deadline_ms),
        dataclasses.replace(case, traces=tuple(faster(t) for t in case.traces)),
        dataclasses.replace(case, table=dataclasses.replace(case.table, edge_ms=0.5 * case.table.edge_ms)),
        dataclasses.replace(case, workers=case.workers + 1),
    ]
    for other in easier:
        assert exact_search(other.instance()).gain >= value - 1e-7


@pytest.mark.parametrize("seed", range(10))
def test_beam_and_bounds_enclose_the_optimum(seed: int) -> None:
    instance = long_case(seed).instance()
    optimum = exact_search(instance)
    assert optimum.complete
    assert optimum.gain == optimum.bound <= instance.tasks.remaining[0]
    gains = []
    for width in (1, 8, 10_000):
        beam = beam_search(instance, width)
        _, executed = evaluate(instance, beam.option)
        np.testing.assert_array_equal(executed, beam.option)
        assert beam.gain <= optimum.gain <= beam.bound
        gains.append(beam.gain)
    assert gains[-1] == optimum.gain


def test_expired_decisions_are_dropped_in_a_replay() -> None:
    instance = long_case(0).instance()
    everything = np.full(300, instance.costs.options.min() - 1, dtype=np.int64)
    _, executed = evaluate(instance, everything)
    assert (executed == DROP).any()
    again = evaluate(instance, executed)
    np.testing.assert_array_equal(again[1], executed)


def test_memory_limit_stops_with_a_valid_bound() -> None:
    instance = long_case(3).instance()
    optimum = exact_search(instance).gain
    search = exact_search(instance, memory_limit_mb=0.005)
    assert (search.stopped, search.complete) == ("memory", False)
    assert search.gain <= optimum <= search.bound


def test_full_record_is_compacted_and_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = long_case(3).instance()
    expected = exact_search(instance)
    monkeypatch.setattr(exact, "FIRST_RECORD", 8)
    search = exact_search(instance)
    assert search.complete
    np.testing.assert_array_equal(search.option, expected.option)


def test_time_limit_stops_with_a_valid_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = long_case(3).instance()
    optimum = exact_search(instance).gain
    monkeypatch.setattr(exact, "SLICE_WORK", 1.0)
    search = exact_search(instance, TimeLimit(0.0))
    assert (search.stopped, search.complete) == ("time", False)
    assert optimum <= search.bound <= instance.tasks.remaining[0]
    beam = beam_search(instance, 8, TimeLimit(0.0))
    assert beam.peak == 1
    assert 0 < beam.gain <= optimum


def test_a_single_task_cannot_use_up_all_time(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = long_case(3).instance()
    expected = exact_search(instance)
    monkeypatch.setattr(exact, "SLICE_WORK", 50.0)
    monkeypatch.setattr(exact, "DEFAULT_WORK", 50.0)
    monkeypatch.setattr(exact, "PROBATION", 1.0)
    search = exact_search(instance)
    assert (search.stopped, search.complete) == ("time", False)
    assert search.work < 200.0
    assert expected.gain <= search.bound


def test_ctrl_c_stops_with_a_valid_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = long_case(3).instance()
    optimum = exact_search(instance).gain
    monkeypatch.setattr(exact, "SLICE_WORK", 1.0)
    advance, calls = exact.advance, []

    limit = TimeLimit()

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) > 5:
            limit.cancel()
        return advance(*arguments)

    monkeypatch.setattr(exact, "advance", interrupted)
    search = exact_search(instance, limit)
    assert (search.stopped, search.complete) == ("interrupted", False)
    assert optimum <= search.bound
