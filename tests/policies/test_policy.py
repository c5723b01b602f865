"""The policy file: what is saved is what is loaded, any ONNX runtime agrees, and everything else is refused by name."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_policies import MARGINS, among_edges, cameras, random_policy

from hasten.core.errors import InputError
from hasten.policies.afterstate_policy import tensor_shapes
from hasten.policies.manifest import ImprovementMargins
from hasten.policies.policy import Policy, load_policy, save_policy


@pytest.fixture(scope="module")
def policy() -> Policy:
    return random_policy(cameras())


@pytest.fixture
def path(policy, tmp_path):
    save_policy(tmp_path / "policy.onnx", policy)
    return tmp_path / "policy.onnx"


@pytest.mark.parametrize("hidden", [(), (7,), (128, 128)])
def test_a_saved_policy_is_loaded_bit_for_bit(tmp_path, hidden):
    policy = random_policy(cameras(), hidden=hidden)
    save_policy(tmp_path / "p.onnx", policy)
    loaded = load_policy(tmp_path / "p.onnx")
    assert loaded.manifest == policy.manifest
    for (weight, bias), (w, b) in zip(
        (*loaded.trunk, loaded.value, loaded.advantage), (*policy.trunk, policy.value, policy.advantage), strict=True
    ):
        assert np.array_equal(weight, w) and np.array_equal(bias, b)
    assert [p.name for p in tmp_path.iterdir()] == ["p.onnx"]


def test_any_onnx_runtime_evaluates_it(policy, path):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    observation = np.random.default_rng(1).uniform(0, 2, (17, policy.manifest.features)).astype(np.float32)
    (found,) = session.run(["q"], {"observation": observation})
    np.testing.assert_allclose(policy.q(observation), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("edges", [1, 2, 3])
def test_a_policy_of_backlogs_is_saved_and_evaluated_alike(tmp_path, edges):
    scenario = cameras() if edges == 1 else among_edges(edges)
    policy, path = random_policy(scenario, hidden=(5, 7), values="backlogs"), tmp_path / "b.onnx"
    save_policy(path, policy)
    loaded = load_policy(path)
    assert loaded.manifest == policy.manifest and loaded.manifest.edges == edges
    for name in tensor_shapes((5, 7)):
        assert np.array_equal(getattr(loaded, name), getattr(policy, name))
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    observation = np.random.default_rng(1).uniform(0, 2, (600, policy.manifest.features)).astype(np.float32)
    (found,) = session.run(["q"], {"observation": observation})
    np.testing.assert_allclose(policy.q(observation), found, rtol=1e-4, atol=1e-4)
    assert len(np.unique(found.argmax(axis=1))) > 1
    edited(path, lambda manifest, _: manifest.update(hidden=[5]))
    with pytest.raises(InputError, match="two widths"):
        load_policy(path)
    edited(path, lambda manifest, _: manifest.update(hidden=[5, 8]))
    with pytest.raises(InputError, match="bias_of"):
        load_policy(path)


def test_a_policy_says_for_how_many_edges_it_is_and_what_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "b.onnx"
    policy = random_policy(among_edges(2), hidden=(5, 7), values="backlogs")

    def refused(change, named):
        save_policy(path, policy)
        edited(path, change)
        with pytest.raises(InputError, match=named):
            load_policy(path)

    edges = [edge for *_, edge in policy.manifest.networks[0].triples]
    assert set(edges) == {0, 1} and len(set(policy.manifest.networks[0].triples)) == len(edges)
    refused(lambda manifest, _: manifest.update(edges=1), "edges beyond 1, that of an option, not 1")
    refused(lambda manifest, _: manifest.update(edges=0), "edges")
    refused(lambda manifest, _: manifest["networks"][0].update(edge=[0]), "edge of .* options, not 1")
    refused(lambda manifest, _: manifest.update(values="actions"), "edges 1 for values of actions")
    refused(lambda manifest, _: (manifest.update(edges=1), manifest["networks"][0].update(edge=[])), "context: got")


def test_the_values_are_dueling(policy):
    observation = np.random.default_rng(1).uniform(0, 2, (5, policy.manifest.features)).astype(np.float32)
    hidden = observation.astype(np.float64)
    for weight, bias in policy.trunk:
        hidden = np.maximum(hidden @ weight + bias, 0)
    advantage = hidden @ policy.advantage[0] + policy.advantage[1]
    value = hidden @ policy.value[0] + policy.value[1]
    expected = value + advantage - advantage.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(policy.q(observation), expected, rtol=1e-4, atol=1e-4)


def test_margins_lie_between_those_of_the_nearest_numbers_of_streams_and_deadlines():
    margins = ImprovementMargins(streams=(2, 6), deadline_ms=(40.0, 160.0), margin=((0.1, 0.0), (0.02, 0.08)))
    at_these = np.array([10.0, 40.0, 80.0, 160.0, 999.0])
    assert margins.at(1, at_these) == pytest.approx([0.1, 0.1, 0.05, 0.0, 0.0])
    assert margins.at(4, at_these) == pytest.approx([0.06, 0.06, 0.05, 0.04, 0.04])
    assert margins.at(50, at_these) == pytest.approx([0.02, 0.02, 0.05, 0.08, 0.08])


def test_margins_are_those_of_each_stream(policy):
    context = cameras().context(np.zeros(1, dtype=np.int64))
    assert np.array_equal(policy.manifest.margin(context), np.zeros(3))
    context = dataclasses.replace(context, deadline_ms=np.array([40.0, 120.0, 400.0]))
    manifest = policy.manifest.model_copy(update={"margins": MARGINS})
    assert manifest.margin(context) == pytest.approx([0.15, 0.06, 0.06])


def edited(path, change):
    """The same file with its manifest, or the whole model, changed by the onnx package."""
    model = onnx.load(path)
    manifest = json.loads(model.metadata_props[0].value)
    change(manifest, model)
    model.metadata_props[0].value = json.dumps(manifest)
    onnx.save(model, path)


def margins_of(streams, deadline_ms, lead):
    """As JSON."""
    return {"streams": list(streams), "deadline_ms": deadline_ms, "lead": lead}


def _rename(manifest, model):
    model.graph.initializer[0].name = "other"


def _double(manifest, model):
    model.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.ones((3, 128)), model.graph.initializer[0].name)
    )


def _external(manifest, model):
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda m, _: m.update(schema="hasten.policy/2"), "schema"),
        (lambda m, _: m.pop("schema"), "schema"),
        (lambda m, _: m.update(feature_version=99), "feature_version"),
        (lambda m, _: m.update(hidden=[128, 64]), r"trunk\.1\.weight"),
        (lambda m, _: m.update(hidden=[2**40]), r"hidden\[0\]"),
        (lambda m, _: m["networks"][0]["options"].pop(), r"trunk\.0\.weight"),
        (lambda m, _: m["envelope"].update(rate_hz=[9, 2]), "envelope"),
        (lambda m, _: m.update(leads=[[8, 0.1], [2, 0.0]]), "leads"),
        (lambda m, _: m.update(leads=margins_of([8, 2], [80], [[0.1], [0.1]])), "leads"),
        (lambda m, _: m.update(leads=margins_of([2], [80, 80], [[0.1, 0.1]])), "leads"),
        (lambda m, _: m.update(leads=margins_of([2], [80, 90], [[0.1]])), "leads"),
        (lambda m, _: m.update(leads=margins_of([2, 3], [80], [[0.1]])), "leads"),
        (lambda m, _: m.update(leads=margins_of([2], [0], [[0.1]])), r"leads\.deadline_ms\[0\]"),
        (lambda m, _: m.update(leads=margins_of([2], [80], [[-0.1]])), r"leads\.lead\[0\]\[0\]"),
        (lambda m, _: m.update(leads=margins_of([2], [80], [[float("nan")]])), r"leads\.lead\[0\]\[0\]"),
        (lambda m, _: m.update(leads=margins_of(range(1, 100), [80], [[0.1]] * 99)), r"leads\.streams"),
        (lambda m, _: m.update(surprise=1), "surprise"),
        (_rename, "initializers"),
        (_double, "file"),
        (_external, "file"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused_by_name(path, change, field):
    edited(path, change)
    with pytest.raises(InputError, match=rf"^{path}: {field}.*: got .*, expected ") as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)


def test_tensors_may_have_the_names_of_before(tmp_path):
    policy = random_policy(cameras(2), hidden=(4, 8), values="backlogs")
    save_policy(tmp_path / "old.onnx", policy)

    def as_before(manifest, model):
        for tensor in model.graph.initializer:
            tensor.name = tensor.name.replace("context", "situation")

    edited(tmp_path / "old.onnx", as_before)
    assert b"situation_bias" in (tmp_path / "old.onnx").read_bytes()
    loaded = load_policy(tmp_path / "old.onnx")
    np.testing.assert_array_equal(loaded.context, policy.context)
    np.testing.assert_array_equal(loaded.context_bias, policy.context_bias)


def test_nan_weights_are_neither_saved_nor_loaded(policy, path):
    weight, bias = policy.value
    with pytest.raises(InputError, match=r"value\.weight"):
        save_policy(path, Policy(policy.manifest, policy.trunk, (weight * np.nan, bias), policy.advantage))

    def poison(manifest, model):
        tensor = model.graph.initializer[1]
        tensor.raw_data = np.full(128, np.nan, np.float32).tobytes()

    edited(path, poison)
    with pytest.raises(InputError, match=r"trunk\.0\.bias: got 'NaN or infinity'"):
        load_policy(path)


def test_other_files_are_no_policies(tmp_path):
    with pytest.raises(InputError, match="a readable policy file"):
        load_policy(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(InputError, match="an ONNX file"):
        load_policy(tmp_path / "text.onnx")
    plain = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    onnx.save(plain, tmp_path / "plain.onnx")
    with pytest.raises(InputError, match="not a hasten policy"):
        load_policy(tmp_path / "plain.onnx")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_file_is_loaded_or_refused_but_never_fails_otherwise(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    save_policy(folder / "whole.onnx", random_policy(cameras(), hidden=(4,)))
    content = bytearray((folder / "whole.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "damaged.onnx").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        load_policy(folder / "damaged.onnx")
    except InputError as error:
        assert "\n" not in str(error)
