"""Logs of real runs as experience: what the scheduler saw comes back bit for bit, and a bad line is named."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from random_policies import cameras, random_policy

from hasten.core.decision import Decision
from hasten.core.errors import InputError
from hasten.core.gain import GainTerms
from hasten.core.options import DROP
from hasten.features.observation_batch import Features
from hasten.learn.domain import FIXED
from hasten.learn.logs import Episode, read_experience, read_tasks, rebuild
from hasten.learn.method import method_for
from hasten.learn.settings import Settings
from hasten.learn.trainer import Trainer
from hasten.learn.transitions import UNKNOWN
from hasten.policies.manifest import network_options
from hasten.runtime.device.agent import DeviceAgent
from hasten.runtime.device.dialing import NetworkDialer
from hasten.runtime.device.settings import AgentSettings
from hasten.runtime.device.sources import Frames
from hasten.runtime.device.tasklog import TaskLog
from hasten.runtime.device.uplink import Uplink
from hasten.runtime.edge.server import real_core, start_edge
from hasten.runtime.pace import now_ms
from hasten.runtime.wire.handshake import Hello
from hasten.schedulers.learned import Learned
from hasten.split.executor import Executor

TASKS = 40


class Spy:
    """A learned scheduler of random weights that remembers what it saw; now and then it takes another's choice."""

    name = "spy"

    def __init__(self, policy):
        self.inner = Learned(policy)
        self.seen = []

    def reset(self, context):
        self.inner.reset(context)
        table, self.column = context.options.undominated()
        self.features = Features(context, table)

    def decide(self, view):
        observation, mask = self.features.observe(view)
        decision = self.inner.decide(view)
        option = int(decision.option[0])
        if len(self.seen) % 10 == 3:  # an option that no policy has
            option = next(o for o in range(20) if o not in self.column[0])
        elif len(self.seen) % 10 == 7:
            option = DROP
        self.seen.append((observation[0].copy(), mask[0].copy(), option))
        return Decision(np.array([option]))


@pytest.fixture(scope="module")
def run(package, tmp_path_factory):
    """A spy, and the log of its run against a real edge, as stream 2 of 3."""
    folder = tmp_path_factory.mktemp("experience")
    (folder / "tiny.json").write_text(package.profile.to_json())
    spy = Spy(random_policy(cameras(1, str(folder / "tiny.json"), gain={"kind": "tradeoff", "lambda": 0.2})))
    settings = AgentSettings(30.0, 50.0, gain_terms=GainTerms(0.2, 0.0, 0.0), stream=2, streams=3)

    async def play():
        server = await start_edge(real_core([package], workers=2))
        hello = Hello(bytes.fromhex(package.digest), b"", "tiny")
        executor = Executor(package)
        executor.warm()
        agent = DeviceAgent(
            package,
            executor,
            spy,
            settings,
            lambda user: Uplink(NetworkDialer("127.0.0.1", server.port, None), hello, user),
        )
        log = TaskLog(folder / "log.jsonl")
        times_ms = np.cumsum(np.random.default_rng(0).exponential(8.0, TASKS))
        try:
            await agent.prepare()
            async with asyncio.timeout(20):
                done = []

                def count(task):
                    done.append(task)
                    if len(done) == TASKS // 2:
                        agent.take_over(spy)  # begins anew, on the way

                await agent.run(Frames(*package.samples()).arrivals(times_ms, 0, 2), now_ms() + 20.0, log, count)
        finally:
            await agent.close()
            await server.close()
            log.close()

    asyncio.run(play())
    return spy, folder / "log.jsonl", package.profile


def own_options(profile, policy):
    assert policy.manifest.networks[0].profile == profile.name
    return policy.manifest.networks[0]


def test_observations_rebuilt_from_the_log_are_those_the_agent_saw(run):
    spy, path, profile = run
    options = own_options(profile, spy.inner.policy)
    episodes = [logged.seen for logged in rebuild(read_tasks(path), profile, options, path)]
    assert len(episodes) == 2 and episodes[1].obs[0, 9] < 2.0  # the second begins anew, not long after an arrival at 0
    episode = Episode(*(np.concatenate(parts) for parts in zip(*episodes, strict=True)))
    assert len(spy.seen) == TASKS
    for i, (observation, mask, option) in enumerate(spy.seen):
        assert np.array_equal(episode.obs[i], observation)
        assert np.array_equal(episode.mask[i, :-1], mask[:-1]) and episode.mask[i, -1] == 1  # may always drop
        if option == DROP:
            assert episode.action[i] == len(options.options)
        elif option in spy.column[0]:
            assert spy.column[0][episode.action[i]] == option
        else:
            assert episode.action[i] == UNKNOWN
    assert (episode.action == UNKNOWN).sum() == TASKS // 10
    assert episode.obs[:, 4:6].max() == 0  # its own backlog is not that of another stream
    assert episode.gain.max() > 0


@pytest.mark.parametrize(("values", "hidden"), [("actions", (16,)), ("backlogs", (8, 16))])
def test_the_log_becomes_experience(run, values, hidden):
    spy, path, profile = run
    logged = read_experience([path, path], profile)
    policy = spy.inner.policy
    method = method_for(policy.manifest.width, Settings.usual(values, hidden=hidden))
    found = method.of_logs(logged)
    known = 2 * sum((part.seen.action[:-1] != UNKNOWN).sum() for part in logged[:2])
    if values == "actions":
        assert len(found) == known and np.all(found.action >= 0)
        assert found.obs.shape == (len(found), policy.manifest.features)
    else:  # an option that was predicted to be useless, or the only one allowed, has nothing to be compared with
        assert 0.5 * known < len(found) <= known
        assert (found.afterstate[:, 0] != found.afterstate[:, 1]).any(axis=1).all()
        assert (
            found.shortfall[:, 0].min() >= 0
            and found.shortfall[:, 0].max() <= 1
            and np.isnan(found.shortfall[:, 1]).all()
        )


def test_logs_stay_when_rollouts_replace_all_simulated_experience(run, tmp_path):
    _, path, profile = run
    logged = read_experience([path], profile)
    (tmp_path / "tiny.json").write_text(profile.to_json())
    scenario = cameras(2, str(tmp_path / "tiny.json"), gain={"kind": "tradeoff", "lambda": 0.2})
    settings = Settings(hidden=(8, 16), demonstrations=100, capacity=500, updates=2)
    trainer = Trainer(scenario, FIXED, settings, logged)
    kept = len(trainer._method.of_logs(logged))
    assert trainer._replay.size == kept + 100
    trainer._start_rollouts()
    assert trainer._replay.size == trainer._replay.demonstrations == kept > 0
    assert len(trainer._expert) == trainer._replay.capacity == kept + 500


def changed_line(path, tmp_path, change, number=5):
    lines = path.read_text().splitlines()
    record = json.loads(lines[number - 1])
    text = change(record)
    lines[number - 1] = text if isinstance(text, str) else json.dumps(record)
    (tmp_path / "bad.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "bad.jsonl"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda r: "{not json", "valid JSON"),
        (lambda r: '{"task": NaN}', "a finite number"),
        (lambda r: '"text"', "expected"),
        (lambda r: r.pop("seen") and None, r"seen: .*the key to be present"),
        (lambda r: r["seen"].update(uplink_wait_ms=-1), r"seen\.uplink_wait_ms: got -1"),
        (lambda r: r["facts"].update(workers="many"), r"facts\.workers"),
    ],
)
def test_a_bad_line_is_refused_by_number(run, tmp_path, change, expected):
    _, path, profile = run
    bad = changed_line(path, tmp_path, change)
    with pytest.raises(InputError, match=rf"^{bad}:5: .*{expected}") as caught:
        read_experience([bad], profile)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda r: r.update(option=99), "option: got 99"),
        (lambda r: r.update(option=0, exit=2, partition=1, fallback=None), "exit, partition"),
        (lambda r: r.update(answered_exit=7), "answered_exit"),
        (lambda r: r.update(answered_exit=1, answered_partition=3), "answered_partition: got 3, expected at most 2"),
        (lambda r: r["seen"].update(edge_wait_ms=[0.0]), "edge_wait_ms"),
        (lambda r: r["facts"].update(slowdown=2.0), "facts"),
        (lambda r: r.update(task=0), "each task once"),
    ],
)
def test_a_line_that_does_not_fit_the_others_or_the_network_is_refused(run, tmp_path, change, expected):
    _, path, profile = run
    with pytest.raises(InputError, match=expected):
        read_experience([changed_line(path, tmp_path, change)], profile)


def test_a_log_that_still_grows_is_read_up_to_its_last_whole_line(run, tmp_path):
    _, path, _ = run
    text = path.read_text()
    (tmp_path / "growing.jsonl").write_text(text[:-20])
    assert len(read_tasks(tmp_path / "growing.jsonl", growing=True)) == TASKS - 1
    with pytest.raises(InputError, match="valid JSON"):
        read_tasks(tmp_path / "growing.jsonl")


def test_of_a_long_growing_log_the_newest_lines_are_read(run, tmp_path, monkeypatch):
    _, path, _ = run
    lines = path.read_text().splitlines(keepends=True)
    monkeypatch.setattr("hasten.learn.logs.NEWEST_BYTES", sum(map(len, lines[-10:])) + 5)
    newest = read_tasks(path, growing=True)
    assert sorted(task.task for task in newest) == sorted(json.loads(line)["task"] for line in lines[-10:])
    bad = tmp_path / "bad.jsonl"
    bad.write_text("".join(lines[:-3]) + "no\n" + "".join(lines[-2:]))
    with pytest.raises(InputError, match=rf"^{bad}:{TASKS - 2}: "):
        read_tasks(bad, growing=True)


def test_another_network_is_refused(run):
    spy, path, _ = run
    other = cameras(1)
    networks = network_options(["alexnet-pi"], other.options)
    with pytest.raises(InputError, match="the network of tiny"):
        read_experience([path], other.devices[0].profile, own_options(run[2], spy.inner.policy))
    with pytest.raises(InputError, match="got 'tiny', expected the network of alexnet-pi"):
        read_experience([path], run[2], networks[0])


def test_a_logged_gain_is_that_of_the_pair_that_answered(run, tmp_path):
    _, path, profile = run
    exits = tuple(
        head.model_copy(update={"accuracy_by_partition": tuple(0.9 - 0.1 * p for p in range(head.after_block + 1))})
        for head in profile.exits
    )
    varied = profile.model_copy(update={"exits": exits})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records.sort(key=lambda record: record["task"])
    answered = [record for record in records if record["answered_exit"]]
    assert len({record["answered_partition"] for record in answered}) > 1

    def gains(file):
        return np.concatenate([logged.seen.gain for logged in read_experience([file], varied)])

    for record, gain in zip(records, gains(path), strict=True):
        if record["answered_exit"] and record["latency_ms"] <= 30.0:
            expected = 0.9 - 0.1 * record["answered_partition"] - 0.2 * record["latency_ms"] / 30.0
            assert gain == pytest.approx(expected)
    before = [{key: value for key, value in record.items() if key != "answered_partition"} for record in records]
    (tmp_path / "before.jsonl").write_text("".join(json.dumps(record) + "\n" for record in before))
    assert np.array_equal(gains(tmp_path / "before.jsonl"), gains(path))
