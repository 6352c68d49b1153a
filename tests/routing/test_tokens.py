"""The estimate against the real tokenizer: `tokens.json` says how many tokens Qwen's own makes of each of its texts."""

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.tokens import pieces_of, shape_of, tokens_of, windows_of

TEXTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "tokens.json").read_text(encoding="utf-8"))["texts"]
KINDS = sorted({text["kind"] for text in TEXTS})
EXACTING = {"prose", "code", "chinese"}
ANY = st.text(st.characters(codec=None), max_size=300)
"""Lone surrogates, too: JSON may carry them."""


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [text for text in TEXTS if text["kind"] == kind]


def name(text: dict[str, Any]) -> str:
    return f"{text['kind']}: {text['text'][:20]}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_text_is_estimated_within_15_percent(kind: str) -> None:
    texts = of_kind(kind)
    assert sum(tokens_of(text["text"]) for text in texts) == pytest.approx(sum(t["tokens"] for t in texts), rel=0.15)


@pytest.mark.parametrize("text", [t for t in TEXTS if t["kind"] in EXACTING and len(t["text"]) > 200], ids=name)
def test_each_text_of_prose_code_or_chinese_is_estimated_within_15_percent(text: dict[str, Any]) -> None:
    assert tokens_of(text["text"]) == pytest.approx(text["tokens"], rel=0.15)


@pytest.mark.parametrize("text", [t for t in TEXTS if len(t["text"]) > 60], ids=name)
def test_each_text_of_any_kind_is_estimated_within_30_percent(text: dict[str, Any]) -> None:
    assert tokens_of(text["text"]) == pytest.approx(text["tokens"], rel=0.3)


def test_there_are_texts_of_all_kinds_and_lengths() -> None:
    lengths = [len(text["text"]) for text in TEXTS]
    assert len(TEXTS) >= 60
    assert min(lengths) < 30
    assert max(lengths) >= 2_000
    assert len(KINDS) >= 15


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_is_estimated_as_its_parts_are(kind: str) -> None:
    """200 KB are sampled."""
    text = max((t["text"] for t in of_kind(kind)), key=len) + "\n"
    times = 200_000 // len(text.encode()) + 1
    assert tokens_of(text * times) == pytest.approx(times * tokens_of(text), rel=0.15)


def test_a_long_text_of_many_kinds_is_estimated_within_15_percent() -> None:
    kinds = defaultdict(list)
    for text in TEXTS:
        kinds[text["kind"]].append(text)
    longest = [max(texts, key=lambda t: t["tokens"]) for texts in kinds.values()]
    texts = [text for text in longest for _ in range(10_000 // len(text["text"]))]
    assert tokens_of("\n".join(t["text"] for t in texts)) == pytest.approx(sum(t["tokens"] for t in texts), rel=0.15)


def test_no_period_of_a_text_falls_in_step_with_the_samples() -> None:
    """Words where each stretch begins, and digits in the rest of it."""
    stretch = " tree" * 250 + "7" * 1_250
    assert tokens_of(stretch * len(windows_of(9_000))) == pytest.approx(64 * 1_500, rel=0.15)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), (" ", 1), ("\n", 1), ("Hello", 1), ("2026", 4), ("of the people", 3), ("\ud800", 1)],
)
def test_the_shortest_texts(text: str, tokens: int) -> None:
    assert tokens_of(text) == pytest.approx(tokens, abs=1 if text == "\ud800" else 0)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("three short words", 3),
        ("a.b", 2),
        ("f(x)", 3),
        ("in 2026", 6),
        ("    return x\n", 4),
        ("one,\n\ntwo", 3),
        ("Grüße, 你好", 3),
    ],
)
def test_pieces_are_those_of_the_tokenizers_pattern(text: str, pieces: int) -> None:
    assert pieces_of(shape_of(text.encode())) == pieces


def test_words_are_not_all_alike() -> None:
    english, german = "the weather is fine for walking", "Donaudampfschifffahrtsgesellschaft"
    assert tokens_of(german) > 6 == tokens_of(english)
    assert tokens_of("q7Xk9ZpLw2" * 20) > 2 * tokens_of("understand" * 20)


def test_dense_text_that_no_sample_meets_counts_nevertheless() -> None:
    """At least a token in eight bytes, and where a sample does meet some, never more than one in one."""
    hidden = ["7"] * 200_000
    for window in windows_of(len(hidden)):
        hidden[window] = " " * (window.stop - window.start)
    assert tokens_of("".join(hidden)) >= hidden.count("7") / 8 > 100 * tokens_of(" " * 20_000)
    hidden[0] = "7"
    assert tokens_of("".join(hidden)) <= len(hidden)


def test_samples_lie_within_a_long_text_apart_from_each_other() -> None:
    windows = windows_of(8_193)
    assert windows[0].start >= 0
    assert windows[-1].stop <= 8_193
    assert all(one.stop <= other.start for one, other in pairwise(windows))


@pytest.mark.parametrize(("blank", "at_once"), [(" ", 128), ("\n", 32)])
def test_blanks_are_not_free(blank: str, at_once: int) -> None:
    for length in (8_000, 100_000):
        assert tokens_of(blank * length) == pytest.approx(length / at_once, rel=0.05)


@given(ANY)
def test_any_text_takes_at_least_one_token_and_at_most_its_bytes(text: str) -> None:
    assert bool(text) <= tokens_of(text) <= len(text.encode(errors="surrogatepass"))


@given(ANY, ANY)
def test_two_texts_take_about_what_each_takes(one: str, other: str) -> None:
    """What the seam itself changes is no more than the patterns that lie across it."""
    both = tokens_of(one) + tokens_of(other)
    assert abs(tokens_of(one + other) - both) <= 8 + 0.1 * both


@given(ANY, ANY)
def test_more_text_is_not_less(one: str, more: str) -> None:
    assert tokens_of(one + more) >= tokens_of(one) - 1


@given(ANY.filter(bool), st.integers(9_000, 30_000))
def test_any_text_can_be_long(text: str, length: int) -> None:
    long = (text * (length // len(text) + 1))[:length]
    assert 1 <= tokens_of(long) <= len(long.encode(errors="surrogatepass"))
