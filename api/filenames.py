"""A client's file names on their way out: data in JSON, harmless in a header or an archive. Pure."""

import unicodedata
from urllib.parse import quote

LONGEST = 200
_SEPARATORS = str.maketrans("/\\:", "___")


def harmless(filename: str, fallback: str = "file") -> str:
    """A plain name without folders, control or direction marks, never empty and never hidden."""
    printable = "".join(sign for sign in filename if unicodedata.category(sign)[0] != "C")
    return printable.translate(_SEPARATORS).strip(" .")[:LONGEST] or fallback


def attachment(filename: str) -> str:
    """A Content-Disposition under which browsers save it (RFC 6266): ASCII for old clients, then the whole name."""
    name = harmless(filename)
    plain = "".join(sign if sign.isascii() and sign not in '"%' else "_" for sign in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
