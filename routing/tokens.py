"""How many tokens Qwen's tokenizer makes of a text, estimated without its vocabulary. Pure.

The tokenizer first cuts a text into pieces (words with the blank or sign before them, single digits, runs of signs,
ends of lines), with the same pattern in Qwen 2, 2.5 and 3, and then each piece into one or more tokens. Pieces can be
counted by what meets at their edges: a word begins where a letter follows none, and so on. What a piece takes beyond
its first token depends on its script, its length and its letters: a long word takes more than a short one, a German one
more than an English one. That is a sum of weights over short patterns, none below 0. `scripts/fit_tokens.py` fitted
them to what the real tokenizer made of 16 MB of manuals, prose and conversations in 18 languages, code in 15, and data.
All of it is counting bytes, which C does at about 1 ns each.
"""

from collections.abc import Mapping
from operator import mul

_SCRIPTS = (
    (0xC2, "s"),  # signs of Latin-1
    (0xCB, "a"),  # Latin with accents
    (0xCD, "s"),  # accents alone
    (0xCF, "g"),  # Greek
    (0xD4, "r"),  # Cyrillic, Armenian
    (0xDF, "h"),  # Hebrew, Arabic
    (0xE0, "i"),  # India, Thailand
    (0xE1, "a"),  # Latin of Vietnam, and others
    (0xE2, "S"),  # dashes, quotes, arrows, boxes
    (0xE3, "k"),  # kana, and the punctuation of Chinese and Japanese
    (0xE9, "H"),  # Han
    (0xED, "K"),  # Hangul
    (0xEE, "S"),
    (0xEF, "F"),  # full width
    (0xFF, "E"),  # emoji
)
"""Which script a character is of, by the first byte of its UTF-8, up to and with the one here."""

_STARTS = (
    *(b" a", b".a", b"0a", b"\na"),  # a word
    *(b"0", b" 0"),  # a digit, and a blank before it
    *(b"a.", b"0.", b" .", b"\n."),  # signs
    *(b"  a", b"  .", b"  0"),  # blanks but the last
    *(b"a\n", b"0\n", b" \n"),  # ends of lines
    *(b" " * 128, b"\n" * 32),  # the longest runs of blanks in the vocabulary
)
_JOINS = (b"a.a", b"0.a", b"\n.a")
"""One sign between words belongs to the second of them: `routing.tokens` is two pieces."""

ASCII_SHAPES = {
    b"\n.A": 1.07,
    b".  ": 0.88,
    b"...": 0.13,
    b".aA": 0.82,
    b".aa": 0.22,
    b"0 ": 0.09,
    b"A": 0.03,
    b"A.A": 0.51,
    b"A0": 0.98,
    b"AAa": 1.54,
    b"a\nA": 0.83,
    b"aA": 0.68,
    b"aAA": 1.29,
    b"aa0": 0.32,
    b"aaaaaaa": 0.03,
    b"aaaaaaaaa": 0.36,
    b"aaaaaaaaaaaa": 0.45,
    b"aaaaaaaaaaaaaaaa": 2.63,
}
"""Tokens beyond one for each piece, by a text's shape: lower and upper case, digits, blanks and signs."""
ASCII_LETTERS = {
    b"\t": 0.7,
    b" de ": 0.81,
    b"ah": 1.61,
    b"au": 0.37,
    b"eb": 0.28,
    b"eh": 1.61,
    b"ei": 0.71,
    b"ek": 1.61,
    b"el ": 1.11,
    b"en ": 0.53,
    b"i ": 1.32,
    b"ie ": 1.01,
    b"ik": 1.38,
    b"k": 0.15,
    b"sch": 0.89,
    b"sl": 0.7,
    b"tt": 0.56,
    b"z": 0.94,
}
"""By its letters: what English seldom has takes more."""
OTHER_SHAPES = {
    b"E": 1.39,
    b"F": 0.54,
    b"H": 0.32,
    b"K": 0.18,
    b"KKK": 1.31,
    b"S": 0.76,
    b"g": 0.53,
    b"gggg": 1.79,
    b"h": 0.09,
    b"hh": 0.29,
    b"hhhhhh": 0.12,
    b"k": 0.56,
    b"rrrrrrrr": 0.46,
    b"s": 0.65,
}
OTHER_LETTERS = {
    b"\xc3": 1.31,
    b"\xc5": 1.87,
    b"\xd0": 0.21,
    b"\xda": 1.46,
    b"\xdb": 1.16,
    b"\xe3\x80": 0.13,
    b"\xe5": 0.19,
    b"\xe6": 0.35,
    b"\xe7": 0.17,
    b"\xe8": 0.63,
    b"\xe9": 0.55,
}
"""By UTF-8: lead bytes stand for blocks of 4,096 Chinese characters, not all of them as usual."""

_WINDOWS = 64
_WINDOW = 128
_WHOLE = _WINDOWS * _WINDOW
_LEAST_PER_BYTE = 1 / 8
_GOLDEN = 0.618034


def tokens_of(text: str) -> int:
    """Estimated for a text of any length: at least 1, except for "", and no more than its bytes of UTF-8.

    Texts above 8,192 characters are estimated by 64 windows of 128, evenly spread, and by what is printed (no blank)
    in all of the text. So whoever knows where the windows are can hide dense text between them, but not much: what is
    printed counts as at least one token in eight bytes, and can never be more than one in one. Neither lasts: limits
    are charged with what the engine counted, and it takes no more than the model's context at once.
    """
    if not text:
        return 0
    data = text.encode(errors="surrogatepass")
    estimated = _counted(data) if len(text) <= _WHOLE else _sampled(text, data)
    return max(1, min(round(estimated), len(data)))


def most_tokens_of(text: str) -> int:
    """What `tokens_of` cannot exceed: the bytes of its UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def shape_of(data: bytes) -> bytes:
    """A byte for each character, which tells its kind only: "Hi, 3 Öfen" is "Aa. 0 aaaa"."""
    return data.translate(_SHAPE, _CONTINUATION)


def pieces_of(shape: bytes) -> int:
    """Into how many the tokenizer cuts before it looks into its vocabulary; 1 % off."""
    kinds = b"\n" + shape.translate(_FOLDED)
    return sum(map(kinds.count, _STARTS)) - sum(map(kinds.count, _JOINS))


def windows_of(length: int) -> list[slice]:
    """What is read of a long text: one window in each of as many stretches. Their places within these follow the golden
    ratio, lest a period of the text falls in step.
    """
    stretch = length / _WINDOWS
    starts = [int(i * stretch + i * _GOLDEN % 1 * (stretch - _WINDOW)) for i in range(_WINDOWS)]
    return [slice(start, start + _WINDOW) for start in starts]


def _counted(data: bytes) -> float:
    shape = shape_of(data)
    tokens = pieces_of(shape) + _weighed(shape, ASCII_SHAPES) + _weighed(data, ASCII_LETTERS)
    return tokens if data.isascii() else tokens + _weighed(shape, OTHER_SHAPES) + _weighed(data, OTHER_LETTERS)


def _weighed(data: bytes, weights: Mapping[bytes, float]) -> float:
    return float(sum(map(mul, map(data.count, weights), weights.values())))


def _sampled(text: str, data: bytes) -> float:
    sample = "".join([text[window] for window in windows_of(len(text))]).encode(errors="surrogatepass")
    seen, printed = _printed(sample), _printed(data)
    share = printed / seen if seen else len(data) / len(sample)
    return max(_counted(sample) * share, printed * _LEAST_PER_BYTE)


def _printed(data: bytes) -> int:
    return len(data.translate(None, b" \t\r\n"))


def _kind(byte: int) -> str:
    if byte >= 0x80:
        return next(kind for last, kind in _SCRIPTS if byte <= last)
    char = chr(byte)
    if char.isalpha():
        return "a" if char.islower() else "A"
    if char.isspace():
        return "\n" if char in "\r\n" else " "
    return "0" if char.isdigit() else "."


_SHAPE = "".join(map(_kind, range(256))).encode()
_CONTINUATION = bytes(range(0x80, 0xC0))
_FOLDED = bytes.maketrans(b"AgrhikHKsSFE", b"aaaaaaaa....")
