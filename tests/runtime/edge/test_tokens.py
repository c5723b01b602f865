"""Tokens: a shared one, or each device its own in a file that changes while the edge serves."""

from __future__ import annotations

import hashlib

import pytest

from hasten.core.errors import InputError
from hasten.runtime.edge.tokens import Tokens, digest_of, read_tokens


def entry(name, token):
    return f"{name} sha256:{hashlib.sha256(token.encode()).hexdigest()}\n"


@pytest.fixture
def listed(tmp_path):
    """A list of two devices' tokens."""
    file = tmp_path / "tokens"
    file.write_text("# cameras\n" + entry("cam-1", "one") + "\n" + entry("cam-2", "two").upper().replace("SHA", "sha"))
    return file


def test_each_device_is_known_by_its_own_token(listed):
    tokens = Tokens(file=listed)
    assert tokens.name_of(digest_of(b"one")) == "cam-1"
    assert tokens.name_of(digest_of(b"two")) == "CAM-2"
    assert tokens.name_of(digest_of(b"three")) is None
    assert tokens.name_of(digest_of(b"")) is None


def test_any_other_text_is_the_shared_token(tmp_path):
    (tmp_path / "token").write_text("a shared secret\n")
    tokens = Tokens(file=tmp_path / "token")
    assert tokens.name_of(digest_of(b"a shared secret")) == ""
    assert Tokens("word").name_of(digest_of(b"word")) == ""
    assert Tokens().name_of(digest_of(b"")) == ""
    assert Tokens().name_of(digest_of(b"word")) is None


def replace(file, text):
    """As one should: another file in its place."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.replace(file)


def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(listed):
    tokens, said = Tokens(file=listed), []
    assert not tokens.refresh(said.append) and said == []
    replace(listed, entry("cam-2", "two"))
    assert tokens.refresh(said.append)
    assert said == ["edge: 1 tokens are accepted now"]
    assert tokens.name_of(digest_of(b"one")) is None
    assert tokens.name_of(digest_of(b"two")) == "cam-2"
    replace(listed, entry("cam-1", "one") + "cam-3 sha256:12\n")
    assert not tokens.refresh(said.append)
    assert "line 2: token" in said[-1] and said[-1].endswith("the tokens from before hold")
    listed.unlink()
    assert not tokens.refresh(said.append)
    assert tokens.name_of(digest_of(b"two")) == "cam-2"


def test_an_emptied_file_accepts_nobody(listed):
    for emptied in ("", "# all revoked\n"):
        tokens = Tokens(file=listed)
        replace(listed, emptied)
        assert tokens.refresh(lambda text: None)
        assert tokens.name_of(digest_of(b"one")) is None
        replace(listed, entry("cam-1", "one"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (entry("cam-1", "one") + "cam-2 secret\n", "line 2: token: got 'another text', expected NAME sha256:HEX"),
        (entry("cam-1", "one") + entry("cam-2", "one"), "line 2: token: got 'cam-2', expected a token of its own"),
        (entry("x" * 41, "one"), "line 1"),
        ("", "token: got '0 characters'"),
    ],
)
def test_what_is_no_list_is_refused_by_line_and_shows_no_token(tmp_path, text, expected):
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(InputError, match=expected) as caught:
        read_tokens(file)
    assert "secret" not in str(caught.value)
