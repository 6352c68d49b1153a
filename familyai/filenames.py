"""Names for files that are handed out, made from names that came in. Pure.

What comes in is anybody's words: with paths, line ends, or nothing in it. What goes out is one plain name that every
system takes.
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

NAMELESS = "recording"
LONGEST_BYTES = 120
_NOT_IN_NAMES = '<>:"|?*'
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for itself."""


def stem(filename: str) -> str:
    """What a result's name begins with: the last part of a path, without its ending."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", filename).rstrip("/\\"))[-1]
    printable = "".join(_shown(character) for character in last)
    plain = _cut(PurePosixPath(printable.strip(" .")).stem).strip(" .")
    return f"_{plain}" if _DEVICES.fullmatch(plain) else plain or NAMELESS


def stems(filenames: Iterable[str]) -> list[str]:
    """One for each, no two alike, however a file system tells capitals: `a`, `a-2`, `a-3`."""
    taken: set[str] = set()
    return [_unused(stem(filename), taken) for filename in filenames]


def _unused(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name.casefold() in taken:
        number += 1
        name = f"{wanted}-{number}"
    taken.add(name.casefold())
    return name


def _shown(character: str) -> str:
    """Control and format characters hide what a name is (C*); line and paragraph separators are line ends (Zl, Zp)."""
    category = unicodedata.category(character)
    if category.startswith("C") or category in ("Zl", "Zp"):
        return ""
    return "_" if character in _NOT_IN_NAMES else character


def _cut(name: str) -> str:
    return name.encode()[:LONGEST_BYTES].decode(errors="ignore")
