"""Text as it can be spoken: one sentence after the other, clean of what has no sound.

Pure and lazy: the first sentence of a book is there before the second page was looked at. The boundaries are
sentencex's, which knows the abbreviations of many languages; the longest thing to be spoken in one breath is ours.
"""

import html
import re
import unicodedata
from collections.abc import Iterator

import sentencex  # type: ignore[import-untyped]

MAX_SENTENCE_CHARS = 250
"""Speaking takes memory by the length of what is spoken at once."""
_BLOCK_CHARS = 2000
"""What the splitter sees at once: it is quadratic in some texts made to be so."""

_SSML = re.compile(r"\s*(<\?xml[^<>]*>\s*)?<speak\b", re.IGNORECASE)
_SSML_PAUSE = re.compile(r"</?(?:p|s|break)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_PARAGRAPHS = re.compile(r"\n\s*\n")
_ABBREVIATION = re.compile(r"(?<![\w.])([^\W\d_]+)\.(?=\s+\w)")
_BREATHS = (("; ", ": ", " — ", " – ", "；", "："), (", ", "，", "、", "،"), (" ",))
_JOINERS = "\u200c\u200d"
_FIRST_PICTURE = 0x2190
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_KEEPS_WORDS_APART = " "


def sentences(text: str, language: str) -> Iterator[str]:
    """What to speak, in order, each at most MAX_SENTENCE_CHARS long. Nothing when nothing of it has a sound.

    `language` is an ISO 639 code. SSML's tags are left out, its words are read.
    """
    for paragraph in _paragraphs(_without_ssml(text)):
        for sentence in _split(paragraph, language):
            if spoken := _spoken(sentence):
                yield spoken


def _without_ssml(text: str) -> str:
    if not _SSML.match(text):
        return text
    return html.unescape(_TAG.sub(_KEEPS_WORDS_APART, _SSML_PAUSE.sub("\n\n", text)))


def _paragraphs(text: str) -> Iterator[str]:
    start = 0
    for gap in _PARAGRAPHS.finditer(text):
        yield text[start : gap.start()]
        start = gap.end()
    yield text[start:]


def _split(paragraph: str, language: str) -> Iterator[str]:
    """Block by block; the last piece of each may go on in the next, so it is looked at again with it."""
    rest = ""
    for start in range(0, len(paragraph), _BLOCK_CHARS):
        block = paragraph[start : start + _BLOCK_CHARS].translate(_SOUNDS)
        pieces = [piece for sentence in sentencex.segment(language, rest + block) for piece in _breaths(sentence)]
        rest = pieces.pop() if pieces else ""
        yield from pieces
    yield rest


def _breaths(sentence: str) -> Iterator[str]:
    while len(sentence) > MAX_SENTENCE_CHARS:
        cut = _place_to_breathe(sentence)
        yield sentence[:cut]
        sentence = sentence[cut:]
    yield sentence


def _place_to_breathe(sentence: str) -> int:
    """Behind the last mark of the strongest kind in the second half of what is allowed."""
    for marks in _BREATHS:
        found = [(sentence.rfind(mark, MAX_SENTENCE_CHARS // 2, MAX_SENTENCE_CHARS), len(mark)) for mark in marks]
        place, length = max(found)
        if place >= 0:
            return place + length
    return MAX_SENTENCE_CHARS


def _spoken(sentence: str) -> str:
    """The phonemizer ends a sentence at any full stop, so that of an abbreviation goes; and its own notation for
    phonemes, `[[...]]`, is none in a text that somebody wrote for people."""
    words = sentence.replace("[[", "[ ").replace("]]", " ]").split()
    plain = " ".join(word for word in words if word.strip(_JOINERS))  # a joiner alone is left of an emoji
    return _ABBREVIATION.sub(r"\1", plain)


class _Sounds(dict[int, str | None]):
    """For `str.translate`: each character decided once."""

    def __missing__(self, code: int) -> str | None:
        self[code] = kept = _kept(chr(code))
        return kept


def _kept(char: str) -> str | None:
    kind = unicodedata.category(char)
    if char in "\n\r\t":
        return char
    if kind in ("Cc", "Cs", "Co", "Cn") or _is_picture(char, kind):
        return _KEEPS_WORDS_APART
    if unicodedata.name(char, "").startswith("VARIATION SELECTOR") or (kind == "Cf" and char not in _JOINERS):
        return None
    return char


def _is_picture(char: str, kind: str) -> bool:
    """Emoji, dingbats, arrows, box drawing; not the signs that are read out, such as a degree's or a trade mark's."""
    return (kind == "So" and ord(char) >= _FIRST_PICTURE) or ord(char) in _SKIN_TONES or char == "\u20e3"


_SOUNDS = _Sounds()
