"""A text as words, in any script, and as what the wording of requests is learnt by. Pure.

Words are compared without capitals and accents. Chinese has no spaces: there, runs of characters are the words.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import pairwise

STEM = 6
"""Letters by which a long word is known, whatever its ending."""
PIECE = 4
"""Letters of the pieces by which a misspelt or compound word is still known."""

_WORD = re.compile(r"[^\W\d_][^\W_]*+(?:[.+#'’-]++[^\W_]++)*+(?:\+\+|#)*+|\d+(?:[.,:]\d+)*|\.net")
_ACCENTS = re.compile(r"[\u0300-\u036f]+")
HAN = re.compile(r"[぀-ヿ㐀-鿿豈-﫿]+")


def plain(text: str) -> str:
    """Without capitals and accents."""
    if text.isascii():
        return text.lower()
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))


def words_of(text: str) -> list[str]:
    """Of a plain text, in order, without Chinese."""
    return _WORD.findall(text if text.isascii() else HAN.sub(" ", text).replace("’", "'"))


def phrases(words: list[str], followed_by: Mapping[str, AbstractSet[str]]) -> list[str]:
    """Of two words and of three, that begin with one of these and what may follow it."""
    begun = [
        words[at : at + 3]
        for at, (word, following) in enumerate(pairwise(words))
        if word in followed_by and following in followed_by[word]
    ]
    return [" ".join(some[:length]) for some in begun for length in range(2, len(some) + 1)]


def runs(text: str, longest: int) -> Iterator[str]:
    """Of Chinese: a character that stands alone, else every two and more that follow each other."""
    for run in () if text.isascii() else HAN.findall(text):
        if len(run) == 1:
            yield run
        for length in range(2, longest + 1):
            yield from (run[at : at + length] for at in range(len(run) - length + 1))


def wording(text: str, words: list[str]) -> set[str]:
    """What a plain text is known by: words and pairs of words without their endings; Chinese characters and pairs."""
    short = ["0" if word[0].isdigit() else word[:STEM] for word in words]
    return {*short, *map("{} {}".format, short, short[1:]), *_characters(text)}


def beginning(text: str, words: list[str]) -> set[str]:
    """The same of how it begins: with which words, up to three."""
    run = HAN.match(text.lstrip())
    begun = [run[0][:length] for length in (2, 3)] if run else [" ".join(words[:count]) for count in (1, 2, 3)]
    return {f"^{words}" for words in begun if words}


def pieces(words: list[str]) -> set[str]:
    """Of every word that is longer than a piece, with its ends marked."""
    marked = {f"_{word}_" for word in words if len(word) > PIECE}
    return {f"#{word[at : at + PIECE]}" for word in marked for at in range(len(word) - PIECE + 1)}


def _characters(text: str) -> Iterator[str]:
    for run in () if text.isascii() else HAN.findall(text):
        yield from run
        yield from map("".join, pairwise(run))
