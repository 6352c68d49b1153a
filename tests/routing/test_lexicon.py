"""The lexicon tells the language, and what is meant in it; and every entry of its files can be met."""

from importlib.resources import files

import pytest
import yaml

from routing.lexicon import COMMON, FUNCTION_WORDS, Lexica, Lexicon, load
from routing.words import HAN, plain, words_of

LEXICA = load()
FILES = {
    file.name.removesuffix(".yaml"): yaml.safe_load(file.read_text("utf-8"))
    for file in files("routing").joinpath("data/lexicon").iterdir()
}
ENTRIES = [
    (language, concept, entry.strip())
    for language, concepts in FILES.items()
    for concept, text in concepts.items()
    for entry in text.split(",")
]


def concepts(lexicon: Lexicon, text: str) -> dict[str, int]:
    prose = plain(text)
    return dict(lexicon.concepts(prose, words_of(prose)))


def test_words_beginnings_phrases_and_chinese() -> None:
    lexicon = Lexicon(
        [("asks to program", "refactor*, unit test, 写函数, 改"), ("speaks of programs", "unit test, loop")]
    )

    assert concepts(lexicon, "Refactoring!") == {"asks to program": 1}
    assert concepts(lexicon, "a unit test, a loop") == {"asks to program": 1, "speaks of programs": 2}
    assert concepts(lexicon, "帮我写函数，改。") == {"asks to program": 2}
    assert concepts(lexicon, "units, testing, loops, factor") == {}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How do I get candle wax out of a carpet?", "en"),
        ("¿Me ayudas a redactar una carta para el casero?", "es"),
        ("Wie bekomme ich das Kerzenwachs aus dem Teppich?", "de"),
        ("Comment enlever la cire du tapis ?", "fr"),
        ("地毯上的蜡怎么去掉", "zh"),
        ("帮我看看这个 TypeError: unsupported operand type 是什么意思", "zh"),
        ("", "en"),
    ],
)
def test_languages_are_told_apart(text: str, language: str) -> None:
    prose = plain(text)
    assert LEXICA.language(prose, words_of(prose)) == language


def test_function_words_tell_before_others_and_two_that_are_level_tell_nothing() -> None:
    known = {
        "en": [("function words", "the, in"), ("asks", "rat, help")],
        "de": [("function words", "der, in"), ("asks", "rat, hilf")],
    }
    lexica = Lexica({code: Lexicon(entries) for code, entries in known.items()})

    assert lexica.language("", ["der", "help", "help"]) == "de"
    assert lexica.language("", ["in", "hilf"]) == "de"
    assert lexica.language("", ["the", "der", "rat"]) == "en"


def test_a_word_counts_in_its_own_language_only() -> None:
    def found(text: str) -> set[str]:
        prose = plain(text)
        return set(LEXICA.concepts(prose, words_of(prose)))

    assert "writes to somebody" in found("Kannst du mir bitte einen Brief an den Vermieter schreiben?")
    assert "writes to somebody" not in found("What is the brief for that?")


def test_every_language_knows_the_same_concepts() -> None:
    own = {language: set(known) - {FUNCTION_WORDS} for language, known in FILES.items() if language != COMMON}
    assert len({frozenset(known) for known in own.values()}) == 1
    assert len(own) == 5


def met(language: str, entry: str) -> bool:
    """Whether some text would be found to say it."""
    text = entry.removesuffix("*")
    if HAN.search(text):
        return len(text) <= 5 and (HAN.fullmatch(text) is not None or bool(words_of(text)))
    return plain(text) == text and 1 <= len(words_of(text)) <= 3 and " ".join(words_of(text)) == text


def test_every_entry_can_be_met() -> None:
    assert [(language, entry) for language, _, entry in ENTRIES if not met(language, entry)] == []


def test_a_beginning_has_letters_enough() -> None:
    assert [entry for _, _, entry in ENTRIES if entry.endswith("*") and (len(entry) < 5 or " " in entry)] == []
