"""Texts that say the same thing over and over. Whatever is looked for in them is looked for in one pass: tried in every
way in which they could be parted, they would take hours, and everybody's answers would wait."""

import pytest

from routing.conversation import read
from routing.shape import shape
from routing.side_tasks import signs
from routing.words import words_of

MANY = 300_000


@pytest.mark.parametrize("text", [" ", "\t", "\n", " \n", "<a", "a.", "Aa", "; "])
def test_its_looks(text: str) -> None:
    assert shape(text * MANY + "-")["a code block"] == 0


@pytest.mark.parametrize("text", ["#", "+#", "a#", "a+"])
def test_its_words(text: str) -> None:
    assert words_of("c" + text * MANY)


@pytest.mark.parametrize("text", ["\n", " \n", "-\n"])
def test_whether_it_is_a_transcript(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of it is read."""
    monkeypatch.setattr("routing.side_tasks._READ", (2 * MANY, 0))
    body = {"messages": [{"role": "user", "content": text * MANY}]}
    assert "a transcript" not in signs(body, read(body), text * MANY)
