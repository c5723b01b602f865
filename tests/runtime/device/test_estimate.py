"""What a device believes of link and edge, against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hasten.runtime.device.backlog_estimate import BacklogEstimator
from hasten.runtime.device.estimate import LinkEstimate
from hasten.runtime.wire.load import LoadReport


def known_link(rtt_ms=10.0, rate=100.0):
    link = LinkEstimate()
    for start_ms in (0.0, 20.0, 40.0):
        link.ping(start_ms, start_ms + rtt_ms, 1000.0 + start_ms + 0.5 * rtt_ms)
    link.transfer(0.0, 1000.0, 1000.0 * rate)
    return link


def test_round_trip_is_the_median_and_the_clock_that_of_the_fastest_ping():
    link = LinkEstimate()
    assert (link.rtt_ms, link.knows_clock) == (0.0, False)
    link.ping(0.0, 10.0, 505.0)
    link.ping(100.0, 130.0, 625.0)  # 20 ms longer on the way back
    link.ping(200.0, 212.0, 706.0)
    assert link.rtt_ms == 12.0
    assert link.edge_clock(1000.0) == pytest.approx(1500.0)


def test_rate_converges_and_short_transfers_count_little():
    link = LinkEstimate()
    for i in range(40):
        link.transfer(100.0 * i, 100.0 * i + 10.0, 5000.0)
    assert link.rate_bits_per_ms == pytest.approx(500.0)
    before = link.rate_bits_per_ms
    link.transfer(4000.0, 4000.01, 5000.0)  # a clock's glitch
    assert link.rate_bits_per_ms < before * 60
    noisy = abs(link.rate_bits_per_ms - before)
    assert noisy < 0.1 * 5000.0 / 0.05


def test_after_a_pause_the_newest_sample_counts_more():
    rates = []
    for pause_ms in (0.0, 5000.0):
        link = LinkEstimate()
        link.transfer(0.0, 10.0, 1000.0)
        link.transfer(10.0 + pause_ms, 20.0 + pause_ms, 4000.0)
        rates.append(link.rate_bits_per_ms)
    assert 100.0 < rates[0] < 250.0 < rates[1] < 400.0


def test_an_idle_outlook_sees_no_waits():
    backlogs = BacklogEstimator(known_link(), workers=2)
    backlogs.update(5000.0, True, 3.0)
    assert backlogs.device_wait_ms == 3.0
    assert (backlogs.uplink_wait_ms, backlogs.edge_wait_ms) == (0.0, [0.0, 0.0])
    assert backlogs.rate_bits_per_ms == pytest.approx(100.0)


def test_own_transfers_queue_behind_each_other_and_at_the_edge():
    backlogs = BacklogEstimator(known_link())
    first = backlogs.plan_transfer(1000.0, 5000.0, 30.0)
    backlogs.transfer_sent(first, 1000.0, 5000.0)
    backlogs.plan_transfer(2000.0, 5005.0, 40.0)  # still in device compute
    backlogs.update(5000.0, True, 5.0)
    assert backlogs.uplink_wait_ms == pytest.approx(30.0)  # 10 and 20 ms
    # First at the edge at 5015 until 5045; second arrives at 5035 and runs until 5085.
    assert backlogs.edge_wait_ms == pytest.approx([85.0])
    backlogs.update(5020.0, True, 0.0)
    assert backlogs.uplink_wait_ms == pytest.approx(10.0)


def test_reports_age_and_do_not_count_own_tasks_twice():
    backlogs = BacklogEstimator(known_link(), workers=2)
    transfer = backlogs.plan_transfer(1000.0, 5000.0, 30.0)
    backlogs.transfer_sent(transfer, 1000.0, 5000.0)
    backlogs.edge_reported(LoadReport(1, 0, (10.0, 50.0)), 5100.0)  # left the edge at 5095
    backlogs.update(5100.0, True, 0.0)
    assert backlogs.edge_wait_ms == pytest.approx([5.0, 45.0])
    backlogs.update(5120.0, True, 0.0)
    assert backlogs.edge_wait_ms == pytest.approx([0.0, 25.0])


def test_work_of_others_goes_on_after_a_report():
    """Of 40 ms reported, others bringing 0.5 ms per ms, 20 ms later 30 are left; a frame that comes then waits besides."""
    backlogs = BacklogEstimator(known_link())
    backlogs.edge_reported(LoadReport(1, 0, (40.0,), 0.5, 6.0), 5100.0)  # left the edge at 5095
    backlogs.update(5115.0, True, 0.0)
    assert backlogs.edge_wait_ms == pytest.approx([30.0])
    assert backlogs.unseen_wait_ms == pytest.approx(12.0)
    backlogs.disconnected(5115.0)
    backlogs.update(5115.0, True, 0.0)
    assert backlogs.unseen_wait_ms == 0.0


def test_an_answer_gives_a_sample_without_the_edges_time_and_own_queueing():
    link = known_link(rate=100.0)
    backlogs = BacklogEstimator(link)
    first = backlogs.plan_transfer(1000.0, 5000.0, 30.0)
    second = backlogs.plan_transfer(1000.0, 5000.0, 30.0)
    for transfer in (first, second):
        backlogs.transfer_sent(transfer, 1000.0, 5000.0)
    backlogs.transfer_answered(first, 5050.0, 30.0)  # its last bit left at 5010
    backlogs.transfer_answered(second, 5100.0, 70.0)  # at 5020: 10 ms after the first
    assert link.rate_bits_per_ms == pytest.approx(100.0)
    backlogs.update(5100.0, True, 0.0)
    assert backlogs.uplink_wait_ms == 0.0


def test_an_answer_that_overtakes_tells_nothing_of_the_rate_and_spoils_no_other():
    """A probe behind a frame is answered while the edge still works on the frame, which it had some time before."""
    link = known_link(rate=100.0)
    backlogs = BacklogEstimator(link)
    before, frame, probe, after = (backlogs.plan_transfer(1000.0, 5000.0, 30.0) for _ in range(4))
    for at_ms, transfer in ((5000.0, before), (5002.0, frame), (5004.0, probe), (5006.0, after)):
        backlogs.transfer_sent(transfer, 1000.0, at_ms)
    backlogs.transfer_answered(before, 5020.0, 0.0)  # left at 5010
    backlogs.transfer_answered(probe, 5040.0, 0.0)  # left at 5030, 26 ms after it was sent, behind two frames
    assert link.rate_bits_per_ms == pytest.approx(100.0)
    backlogs.transfer_answered(frame, 5080.0, 50.0)  # left at 5020, 10 ms after the one before, and before the probe
    assert link.rate_bits_per_ms == pytest.approx(100.0)
    backlogs.transfer_answered(after, 5090.0, 40.0)  # left at 5040, 10 ms after the probe
    assert link.rate_bits_per_ms == pytest.approx(100.0)


def test_an_overdue_transfer_bounds_the_rate():
    backlogs = BacklogEstimator(known_link(rate=100.0))
    transfer = backlogs.plan_transfer(1000.0, 5000.0, 30.0)
    backlogs.transfer_sent(transfer, 1000.0, 5000.0)
    backlogs.update(5050.0, True, 0.0)
    assert backlogs.rate_bits_per_ms == pytest.approx(100.0)
    backlogs.update(5140.0, True, 0.0)  # 100 ms away beyond round trip and edge: at most 10 bits/ms
    assert backlogs.rate_bits_per_ms == pytest.approx(10.0)


def test_without_a_connection_there_is_no_rate():
    backlogs = BacklogEstimator(known_link())
    backlogs.plan_transfer(1000.0, 5000.0, 30.0)
    backlogs.update(5000.0, False, 0.0)
    assert backlogs.rate_bits_per_ms == 0.0
    assert np.isfinite(backlogs.uplink_wait_ms)
