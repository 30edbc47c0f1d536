"""Texts that are partly known agree with ``str`` where all is known, and stay sound where it is not."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from lorascale_lint.provenance import keys
from lorascale_lint.provenance.values import Hole, Text

letters = st.text("ab._", max_size=8)
words = st.text("ab._", min_size=1, max_size=3)
parts = st.lists(st.one_of(letters, st.builds(Hole, st.sampled_from("mn"))), max_size=4)
texts = parts.map(keys.text_of)


def literal(text: str) -> Text:
    return keys.text_of([text])


def filled(text: Text, given: dict[str, str]) -> str:
    """The text where its holes are known."""
    return "".join(part if isinstance(part, str) else given[part.name] for part in text.parts)


@given(letters, words, letters)
def test_replace(text: str, old: str, new: str) -> None:
    assert keys.replaced(literal(text), old, new) == literal(text.replace(old, new))


@given(letters, words)
def test_ends(text: str, word: str) -> None:
    assert keys.without_end(literal(text), word) == literal(text.removesuffix(word))
    assert keys.without_start(literal(text), word) == literal(text.removeprefix(word))


@given(letters, words)
def test_before_and_after(text: str, word: str) -> None:
    first, found, rest = text.partition(word)
    if found:
        assert keys.before(literal(text), word) == literal(first)
        assert keys.after(literal(text), word) == literal(rest)


@given(letters, words)
def test_contains(text: str, word: str) -> None:
    assert keys.contains(literal(text), word) is (word in text)


@given(texts, words, letters, letters)
def test_contains_is_never_wrong(text: Text, word: str, m: str, n: str) -> None:
    known = keys.contains(text, word)
    if known is not None:
        assert known is (word in filled(text, {"m": m, "n": n}))


@given(texts, texts, letters, letters)
def test_may_equal_is_never_wrong(one: Text, two: Text, m: str, n: str) -> None:
    known = keys.may_equal(one, two)
    if known is not None:
        held = {"m": m, "n": n}
        assert known is (filled(one, held) == filled(two, held)) or known is False
        if known is False:
            assert filled(one, held) != filled(two, held)


@given(texts)
def test_neighbours_are_joined_and_nothing_is_empty(text: Text) -> None:
    assert "" not in text.parts
    pairs = zip(text.parts, text.parts[1:], strict=False)
    assert not any(isinstance(a, str) and isinstance(b, str) for a, b in pairs)


@given(texts, words)
def test_equal_texts_stay_equal_and_others_apart(text: Text, word: str) -> None:
    assert keys.before(text, word) == keys.before(text, word)
    assert keys.derived(text, "slice", 1) != keys.derived(text, "slice", 2)


NAME = Hole("name")


@pytest.mark.parametrize(
    ("text", "role"),
    [
        (Text((NAME, ".lora_A.weight")), "A"),
        (Text((NAME, ".lora_up.weight")), "B"),
        (Text((NAME, ".alpha")), "alpha"),
        (Text((Hole("key", frozenset({"lora_down"})),)), "A"),
        (Text((Hole("key", frozenset({"lora_down", "alpha"})),)), None),
        (Text((NAME, ".weight")), None),
        (Text((NAME,)), None),
    ],
)
def test_the_role_of_a_key(text: Text, role: str | None) -> None:
    assert keys.role_in(text) == role


def test_a_word_that_is_known_follows_what_is_replaced() -> None:
    key = keys.with_word(Text((NAME,)), "lora_down.weight")
    assert keys.role_in(key) == "A"
    assert keys.role_in(keys.replaced(key, "lora_down", "lora_up")) == "B"
    assert keys.role_in(keys.replaced(key, "lora_down.weight", "alpha")) == "alpha"
    short = keys.with_word(Text((NAME,)), "lora_down")
    assert keys.role_in(keys.replaced(short, "lora_down.weight", "alpha")) == "alpha"


def test_long_names_of_holes_are_short_and_distinct() -> None:
    one, two = (keys.derived(Text((Hole("x" * 200 + end),)), "split") for end in "ab")
    assert one != two
    assert all(isinstance(text.parts[0], Hole) and len(text.parts[0].name) < 60 for text in (one, two))
