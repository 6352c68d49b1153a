"""What people say, by what they mean with it: concepts, and the words that stand for each in each language. Pure, but
for files read at import: `data/lexicon/{language}.yaml`, and `common.yaml` for what is said alike everywhere.

An entry is a word, the beginning of words (`refactor*`), a phrase of two or three words, or up to five Chinese
characters. Which language a text is in is told by its function words; only that language's entries count, since
`rat` or `brief` means something else next door.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import chain
from typing import Any

import yaml

from routing.words import HAN, phrases, runs

FUNCTION_WORDS = "function words"
CHINESE, ENGLISH, COMMON = "zh", "en", "common"
_LONGEST_RUN = 5
_SHORTEST_PREFIX = 4
_TELLING = 30
"""So many words of a text tell its language, function words before all others."""
_MUCH_CHINESE = 0.08
"""Of a text's characters: with so much it is Chinese, however many English words stand in it."""

SaidIn = dict[str, list[str]]


class Lexicon:
    """Of one language."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        """`entries`: concepts, each with what stands for it, parted by commas."""
        self.function_words: frozenset[str] = frozenset()
        self._exact: dict[str, list[str]] = {}
        self._prefixes: dict[str, list[tuple[str, str]]] = {}
        self._followed_by: dict[str, set[str]] = {}
        for concept, text in entries:
            said = {entry.strip() for entry in text.split(",")}
            if concept == FUNCTION_WORDS:
                self.function_words = frozenset(said)
            for entry in said if concept != FUNCTION_WORDS else ():
                self._add(entry, concept)

    def concepts(self, text: str, words: list[str]) -> Counter[str]:
        """How often each is meant in a plain text, whose words these are."""
        exact, prefixes = self._exact, self._prefixes
        candidates = chain(words, phrases(words, self._followed_by), runs(text, _LONGEST_RUN))
        found = [*chain.from_iterable(map(exact.__getitem__, filter(exact.__contains__, candidates)))]
        for word in words:
            if (begun := word[:_SHORTEST_PREFIX]) in prefixes:
                found += {concept for prefix, concept in prefixes[begun] if word.startswith(prefix)}
        return Counter(found)

    @property
    def telling(self) -> set[str]:
        """Words that speak for this language."""
        return {*self.function_words, *self._exact}

    def _add(self, entry: str, concept: str) -> None:
        if entry.endswith("*"):
            self._prefixes.setdefault(entry[:_SHORTEST_PREFIX], []).append((entry[:-1], concept))
            return
        self._exact.setdefault(entry, []).append(concept)
        if " " in entry:
            first, second, *_ = entry.split(" ")
            self._followed_by.setdefault(first, set()).add(second)


class Lexica:
    """Of all languages, by code."""

    def __init__(self, lexica: dict[str, Lexicon]) -> None:
        self._lexica = lexica
        self._function_words = _said_in({code: lexicon.function_words for code, lexicon in lexica.items()})
        self._words = _said_in({code: lexicon.telling for code, lexicon in lexica.items()})

    def language(self, text: str, words: list[str]) -> str:
        """Of a plain text, whose words these are; English, when nothing tells."""
        if not text.isascii() and sum(map(len, HAN.findall(text))) > _MUCH_CHINESE * len(text):
            return CHINESE
        words = words[:_TELLING]
        return _told(self._function_words, words) or _told(self._words, words) or ENGLISH

    def concepts(self, text: str, words: list[str], language: str | None = None) -> Counter[str]:
        """How often each is meant in a plain text, whose words these are. `language`: where it is known already."""
        return self._lexica[language or self.language(text, words)].concepts(text, words)


def _said_in(words: Mapping[str, AbstractSet[str]]) -> SaidIn:
    """In which languages each word is said."""
    said_in: defaultdict[str, list[str]] = defaultdict(list)
    for language, known in words.items():
        for word in known:
            said_in[word].append(language)
    return said_in


def _told(said_in: SaidIn, words: list[str]) -> str:
    """The language that most of the words are of; "" where two have as many, or none has any."""
    known = Counter(chain.from_iterable(map(said_in.__getitem__, said_in.keys() & words)))
    (best, count), *others = known.most_common(2) or [("", 0)]
    return "" if others and others[0][1] == count else best


def _parsed(file: Traversable) -> Any:
    """By libyaml: in Python alone it would take a third of a second of every start."""
    return yaml.load(file.read_text("utf-8"), yaml.CSafeLoader)


def load() -> Lexica:
    """Those that come with the package."""
    folder = files("routing").joinpath("data/lexicon")
    entries = {file.name[: -len(".yaml")]: _parsed(file) for file in folder.iterdir()}
    common = list(entries.pop(COMMON).items())
    return Lexica({code: Lexicon([*common, *own.items()]) for code, own in entries.items()})
