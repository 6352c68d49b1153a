"""Words of any script, compared without capitals, accents and endings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.words import beginning, phrases, pieces, plain, runs, wording, words_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Größe", "grosse"), ("¿Cuántos AÑOS?", "¿cuantos anos?"), ("Déjà", "deja"), ("ABC", "abc"), ("你好", "你好")],
)
def test_plain(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("what's c++, c# or .net?", ["what's", "c++", "c#", "or", ".net"]),
        ("node.js, scikit-learn!", ["node.js", "scikit-learn"]),
        ("l’histoire", ["l'histoire"]),
        ("12.5 kg at 7:30", ["12.5", "kg", "at", "7:30"]),
        ("用python写", ["python"]),
        ("snake_case", ["snake", "case"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_phrases_have_two_words_or_three_and_begin_as_some_do() -> None:
    assert phrases(["a", "b", "c"], {"a": {"b"}, "b": {"c"}}) == ["a b", "a b c", "b c"]
    assert phrases(["a", "b", "c"], {"b": {"c", "d"}, "a": {"c"}}) == ["b c"]
    assert phrases(["a"], {"a": {"b"}}) == []


def test_runs_of_chinese() -> None:
    assert list(runs("写函数 x 改", 3)) == ["写函", "函数", "写函数", "改"]


def test_a_long_word_is_known_by_its_beginning_and_numbers_are_alike() -> None:
    assert wording("", ["refactoring", "17"]) == {"refact", "0", "refact 0"}
    assert wording("", ["refactored", "23"]) == wording("", ["refactoring", "17"])


def test_how_a_text_begins() -> None:
    assert beginning("write me a poem", ["write", "me", "a", "poem"]) == {"^write", "^write me", "^write me a"}
    assert beginning("帮我写一首诗", []) == {"^帮我", "^帮我写"}
    assert beginning("", []) == set()


def test_a_misspelt_word_shares_most_of_its_pieces() -> None:
    right, wrong = pieces(["function"]), pieces(["funktion"])
    assert len(right & wrong) >= 3
    assert pieces(["a", "test"]) == set(), "shorter words are known whole"


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    words = words_of(plain(text))
    assert all(words)
    assert all(wording(plain(text), words))
    assert all(piece.startswith("#") for piece in pieces(words))


@pytest.mark.parametrize(
    ("text", "words"),
    [("c###", ["c###"]), ("c+++", ["c++"]), ("c+#", ["c"]), ("c#.", ["c#"]), ("c#-b#", ["c#-b#"]), ("a..b", ["a..b"])],
)
def test_signs_after_a_word(text: str, words: list[str]) -> None:
    assert words_of(text) == words
