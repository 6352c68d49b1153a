"""What a member may be called. Pure.

Two names are one where they differ in case or Unicode form alone: `Leo`, `leo` and `ＬＥＯ` are the same member.
"""

import hashlib
import unicodedata
from collections.abc import Iterator
from itertools import count, islice

LONGEST = 64
RULE = f"a name has 1 to {LONGEST} letters, digits, spaces or any of . ' @ _ - ( ), and begins with a letter or digit"
NOBODY = "user"
"""Whoever a chat UI speaks for without a name that could be one here."""
NUMBERED = 10
"""Namesakes who are told apart by a number."""
HASH_LENGTHS = (6, 12, 24)
"""Of the others; the shorter two may be taken, by chance or on purpose."""
_SIGNS = " .'@_-()"


def composed(name: str) -> str:
    """With its accents as everybody else writes them: macOS types them apart from their letters."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """As names are compared."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def is_valid(name: str) -> bool:
    """Whether it breaks no log, path, table or terminal."""
    return 1 <= len(name) <= LONGEST and _is_first(name[0]) and name[-1] != " " and all(map(_fits, name))


def made_valid(text: str) -> str:
    """The nearest name to what somebody else's software calls a person."""
    words = "".join(one if _fits(one) else " " for one in composed(text)).split()
    return " ".join(words).lstrip(" .'@-()" + _marks(text))[:LONGEST].rstrip() or NOBODY


def numbered(name: str) -> Iterator[str]:
    """`Leo`, then `Leo (2)`, `Leo (3)`, for when the first is taken."""
    yield name
    for number in count(2):
        yield _with_suffix(name, str(number))


def namesakes(name: str, who: str) -> list[str]:
    """What somebody may be called, the first that is free: numbered up to the tenth, then by a hash of who they are.

    So that a free one is found at once, however many there are.
    """
    digest = hashlib.sha256(who.encode()).hexdigest()
    numbers = islice(numbered(name), NUMBERED)
    return [*numbers, *(_with_suffix(name, digest[:length]) for length in HASH_LENGTHS)]


def _with_suffix(name: str, suffix: str) -> str:
    return f"{name[: LONGEST - len(suffix) - 3].rstrip()} ({suffix})"


def _is_first(one: str) -> bool:
    return one.isalnum() or one == "_"


def _fits(one: str) -> bool:
    return one.isalnum() or one in _SIGNS or _is_mark(one)


def _is_mark(one: str) -> bool:
    """Signs that belong to the letter before them, as vowels do in many scripts."""
    return unicodedata.category(one)[0] == "M"


def _marks(text: str) -> str:
    return "".join(filter(_is_mark, text))
