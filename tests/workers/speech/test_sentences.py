from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.speech.sentences import MAX_SENTENCE_CHARS, sentences


def split(text: str, language: str = "en") -> list[str]:
    return list(sentences(text, language))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("No end", ["No end"]),
        ("Title\n\nA line\nthat goes on. Next.", ["Title", "A line that goes on.", "Next."]),
        ("It costs $3.50 at 5 p.m. He paid.", ["It costs $3.50 at 5 p.m.", "He paid."]),
        ("Wait... what?!", ["Wait... what?!"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_an_abbreviation_does_not_end_a_sentence_here_or_in_the_phonemizer() -> None:
    assert split("Dr. Smith met Mrs. Jones in the U.S. today. It rained.") == [
        "Dr Smith met Mrs Jones in the U.S. today.",
        "It rained.",
    ]


def test_other_languages() -> None:
    assert split("你好。今天天气很好！", "zh") == ["你好。", "今天天气很好！"]
    assert split("Herr Dr. Müller kam am 3. Mai. Er ging.", "de") == ["Herr Dr Müller kam am 3. Mai.", "Er ging."]
    assert split("Hello. World.", "no such language") == ["Hello.", "World."]


@pytest.mark.parametrize(
    "text", ["", "   ", "\n\n\t\n", "😀👍🏽", "👨‍👩‍👧 ❤️", "\x00\x07\x1b", "<speak></speak>", "\ud800"]
)
def test_nothing_to_say(text: str) -> None:
    assert split(text) == []


def test_emoji_are_left_out_and_signs_are_not() -> None:
    assert split("Hi😀there ❤️, it is 20 °C™ 3️⃣.") == ["Hi there , it is 20 °C™ 3 ."]


def test_ssml_is_read_without_its_tags() -> None:
    text = '<?xml version="1.0"?><speak><p>Salt &amp; pepper.</p><break time="1s"/>Yes <emphasis>now</emphasis></speak>'
    assert split(text) == ["Salt & pepper.", "Yes now"]


def test_what_only_looks_like_tags_is_text() -> None:
    assert split("a < b and c > d") == ["a < b and c > d"]


def test_control_characters_and_raw_phonemes_are_text_no_more() -> None:
    assert split("a\x00b [[ hɛlˈoʊ ]]") == ["a b [ hɛlˈoʊ ]"]


@pytest.mark.parametrize("word", ["word, ", "word ", "x", "字，", "(“"])
def test_a_sentence_without_end_is_cut_where_one_would_breathe(word: str) -> None:
    text = word * 3000
    pieces = split(text)
    assert max(map(len, pieces)) <= MAX_SENTENCE_CHARS
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(piece.startswith(word.strip()) for piece in pieces)


def test_a_long_paragraph_is_not_cut_where_the_splitter_stopped_looking() -> None:
    sentence = "This is sentence number {}, of some length."
    text = " ".join(sentence.format(number) for number in range(500))
    assert split(text) == [sentence.format(number) for number in range(500)]


def test_the_first_sentence_of_a_book_needs_no_second_page() -> None:
    book = "A sentence. " * 2_000_000
    assert list(islice(sentences(book, "en"), 2)) == ["A sentence.", "A sentence."]


@given(st.text(max_size=3000))
def test_whatever_comes(text: str) -> None:
    for sentence in sentences(text, "en"):
        assert sentence
        assert "\x00" not in sentence
        assert "[[" not in sentence
        assert len(sentence) <= MAX_SENTENCE_CHARS
        sentence.encode()
