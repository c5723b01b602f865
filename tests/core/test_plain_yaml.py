"""YAML that could mean two things is refused, by line; nothing in a file makes reading it slow or ends in a traceback."""

from __future__ import annotations

import json
import math
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hasten.core.errors import InputError, brief
from hasten.core.files import parse_json
from hasten.core.plain_yaml import MAX_YAML_BYTES, line_of, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0500", "0500"), ("0120", "0120"), ("0890", "0890"), ("-012", "-012"), ("012.5", "012.5"),
        ("1:20", "1:20"), ("190:20:30", "190:20:30"), ("1:20.5", "1:20.5"),
        ("yes", "yes"), ("on", "on"), ("Off", "Off"), ("n", "n"), ("true", True), ("False", False),
        ("1e3", 1000.0), ("1E-2", 0.01), ("1.5e3", 1500.0), (".5", 0.5), ("5.", 5.0), ("-0.0", -0.0), ("+7", 7),
        ("0x1F", "0x1F"), ("0o17", "0o17"), ("1_000", "1_000"), ("0", 0), ("-12", -12),
        ("2026-13-01", "2026-13-01"), ("0000-00-00", "0000-00-00"), ("2001-12-14", "2001-12-14"),
        ("2001-12-14t21:59:43.10-99:99", "2001-12-14t21:59:43.10-99:99"),
        ("~", None), ("null", None), ("", None), ("=", "="), ("!!str 5", "5"), ("'5'", "5"),
    ],
)  # fmt: skip
def test_scalars_are_what_they_look_like(text: str, value: object) -> None:
    found = parse_yaml(f"x: {text}\n", "s.yaml")["x"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "each key once"),
        ("a: {b: 1, b: 2}\n", 1, "each key once"),
        ("a: 1\n'a': 2\n", 2, "each key once"),
        ("- 1\n- !!int abc\n", 2, "a text, a number"),
        ("x: !!float x\n", 1, "a text, a number"),
        ("x: !!timestamp x\n", 1, "a text, a number"),
        ("x: !!bool yes\n", 1, "a text, a number"),
        ("x: !!python/object/apply:os.system [ls]\n", 1, "lists, mappings"),
        ("x: !!binary aGk=\n", 1, "a text, a number"),
        ("x: !!set {a}\n", 1, "lists, mappings"),
        ("? [a]\n: b\n", 1, "a text as a key"),
        ("\nx: " + "9" * 5000, 2, "at most 40 digits"),
        ("x: " + "[" * 2000 + "]" * 2000, 1, "inside each other"),
        ("\n" * 3 + "\n".join(f"{' ' * i}a:" for i in range(100)), 43, "inside each other"),
        ("x: &x [*x]\n", 1, "does not contain itself"),
        ("x: *unknown\n", 1, "undefined alias"),
        ("x: [1\n", 2, "valid YAML"),
        ("--- 1\n--- 2\n", 2, "single document"),
        ("a: b: c\n", 1, "not allowed here"),
    ],
)
def test_what_is_unclear_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "s.yaml")
    message = str(caught.value)
    assert message.startswith(f"s.yaml: line {line}: ")
    assert words in message
    assert "\n" not in message
    assert len(message) < 400


def test_aliases_of_aliases_are_refused_at_once() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    bomb += "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    started = time.process_time()
    with pytest.raises(InputError, match="aliases that add at most"):
        parse_yaml(bomb, "s.yaml")
    assert time.process_time() - started < 0.5


def test_anchors_and_merges_are_still_understood() -> None:
    text = "base: &b {rate_hz: 15, jitter: 0.5}\nfirst: {<<: *b, jitter: 0}\nsecond: *b\n"
    found = parse_yaml(text, "s.yaml")
    assert found["first"] == {"rate_hz": 15, "jitter": 0}
    assert found["second"] == {"rate_hz": 15, "jitter": 0.5}


def test_a_file_that_is_too_long_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(InputError, match="bytes of YAML"):
        parse_yaml("#" * (MAX_YAML_BYTES + 1), "s.yaml")


def test_the_line_of_a_field_is_found() -> None:
    text = "streams:\n  - name: cam\n    arrivals:\n      kind: poisson\n      rate_hz: often\nuplink: {}\n"
    assert line_of(text, ("streams", 0, "arrivals", "poisson", "rate_hz")) == 5
    assert line_of(text, ("uplink", "rate")) == 6
    assert line_of(text, ()) is None


NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcyno012:.", max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_json_means_the_same_as_yaml(data: object) -> None:
    text = json.dumps(data, ensure_ascii=False)
    assert parse_yaml(text, "x") == parse_json(text, "x") == data


@given(NUMBERS)
def test_numbers_as_pyyaml_writes_them_come_back(number: float) -> None:
    found = parse_yaml(yaml.safe_dump({"x": number}), "x")["x"]
    assert found == number
    assert type(found) is type(number)


@given(st.text())
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        parse_yaml(text, "x")
    except InputError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "each key once"),
        ('[{"a": {"b": 1, "b": 1}}]', "each key once"),
        ("[" * 100_000, "inside each other"),
        ("9" * 5000, "at most 40 digits"),
        ("[NaN]", "finite"),
        ("[-Infinity]", "finite"),
        ("[1e400]", "finite"),
        ("[1,]", "valid JSON"),
        ("", "valid JSON"),
        (b"\xff\xfe\xff", "JSON"),
    ],
)
def test_json_that_is_unclear_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_json(text, "p.json")
    assert len(str(caught.value)) < 300


def test_values_in_messages_are_short_whatever_they_are() -> None:
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep] * 10
    cyclic: list[object] = []
    cyclic.append(cyclic)
    values = [deep, cyclic, 10**100_000, "x" * 10**6, bytes(10**6), {"a": deep}, object(), math.nan, list(range(10**5))]
    for value in values:
        assert len(brief(value)) <= 80
        assert brief(value).isprintable()
    error = InputError("a\nfile", "a\tfield" * 100, "x\n", "y" * 10_000)
    assert str(error).isprintable()
    assert len(str(error)) < 1500
    assert isinstance(error, ValueError)


def test_an_error_passes_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(InputError("s.yaml", "count", 0, "more")))  # noqa: S301 - our own bytes
    assert (str(error), error.value) == ("s.yaml: count: got 0, expected more", 0)
