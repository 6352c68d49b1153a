"""A text as words, in any script, and the concepts that the lexicon sees in them. Pure, but for files read at import.

Words are compared without capitals and accents. Chinese has no spaces: there, all runs of one to five characters are.
"""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.resources import files

import yaml

STEM = 6
"""Letters by which a long word is known, whatever its ending."""

_WORD = re.compile(r"[^\W\d_][^\W_]*(?:[.+#'’-]+[^\W_]+|\+\+|#)*|\d+(?:[.,:]\d+)*|\.net")
_HAN = re.compile(r"[぀-ヿ㐀-鿿豈-﫿]+")
_LONGEST_RUN = 5
_SHORTEST_PREFIX = 4


class Lexicon:
    """Which concepts a word, the beginning of a word, a phrase or a run of Chinese stands for."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        """`entries`: concepts, each with what stands for it, parted by commas."""
        self._exact: dict[str, list[str]] = {}
        self._prefixes: dict[str, list[tuple[str, str]]] = {}
        for concept, entry in {(concept, entry.strip()) for concept, text in entries for entry in text.split(",")}:
            self._add(entry, concept)

    def concepts(self, text: str, words: list[str]) -> Counter[str]:
        """How often each occurs. `words`: those of the text, as `words_of` gives them."""
        exact, prefixes, found = self._exact, self._prefixes, Counter[str]()
        for candidate in (*words, *_phrases(words), *_runs(text)):
            if candidate in exact:
                found.update(exact[candidate])
        for word in words:
            if (known := prefixes.get(word[:_SHORTEST_PREFIX])) is not None:
                found.update({concept for prefix, concept in known if word.startswith(prefix)})
        return found

    def _add(self, entry: str, concept: str) -> None:
        if entry.endswith("*"):
            self._prefixes.setdefault(entry[:_SHORTEST_PREFIX], []).append((entry[:-1], concept))
        else:
            self._exact.setdefault(entry, []).append(concept)


def plain(text: str) -> str:
    """Without capitals and accents."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def words_of(text: str) -> list[str]:
    """Of a plain text, in order, without Chinese."""
    return [word.replace("’", "'") for word in _WORD.findall(_HAN.sub(" ", text))]


def stems(text: str, words: list[str]) -> Iterator[str]:
    """What a text is known by: its words and pairs of words without their endings, single characters and pairs of
    Chinese."""
    short = [word[:STEM] if not word[0].isdigit() else "0" for word in words]
    yield from short
    yield from (f"{first} {second}" for first, second in itertools.pairwise(short))
    for run in _HAN.findall(text):
        yield from run
        yield from (run[at : at + 2] for at in range(len(run) - 1))


def _phrases(words: list[str]) -> Iterator[str]:
    """Of two and of three words."""
    yield from map("{} {}".format, words, words[1:])
    yield from map("{} {} {}".format, words, words[1:], words[2:])


def _runs(text: str) -> Iterator[str]:
    """Of Chinese: a character that stands alone, else every two to five that follow each other."""
    for run in _HAN.findall(text):
        if len(run) == 1:
            yield run
        for length in range(2, _LONGEST_RUN + 1):
            yield from (run[at : at + length] for at in range(len(run) - length + 1))


def load() -> Lexicon:
    """The lexicon that comes with the package: a file for each language."""
    folder = files("routing").joinpath("data/lexicon")
    return Lexicon(item for file in folder.iterdir() for item in yaml.safe_load(file.read_text("utf-8")).items())
