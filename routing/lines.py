"""What a batch may ask for: its completion window, and each line of its input. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from familyai.errors import BadRequest

LONGEST_ID = 512
LONGEST_WINDOW_S = 30 * 24 * 3600
_WINDOW = re.compile(r"([1-9]\d{0,5})([mhd])")
_UNITS_S = {"m": 60, "h": 3600, "d": 24 * 3600}
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """One request of a batch."""

    custom_id: str
    body: dict[str, Any]


def window_s(text: str) -> int:
    """`90m`, `24h` or `7d` in seconds, 30 days at most. Raises BadRequest."""
    match = _WINDOW.fullmatch(text)
    seconds = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 0 < seconds <= LONGEST_WINDOW_S:
        raise BadRequest(
            "`completion_window` is a number of minutes, hours or days, such as `24h`; 30 days at most",
            param="completion_window",
            code="invalid_value",
        )
    return seconds


def read_line(line: dict[str, Any], endpoint: str) -> Line:
    """A line's request, once it is JSON. Raises BadRequest, in OpenAI's words for what is wrong with a line."""
    for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
        if line.get(name) is None:
            raise BadRequest(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
        if not isinstance(line[name], kind):
            words = "an object" if kind is dict else "a string"
            raise BadRequest(f"'{name}' must be {words}.", param=name, code="invalid_value")
    _check_values(line, endpoint)
    return Line(line["custom_id"], line["body"])


def _check_values(line: dict[str, Any], endpoint: str) -> None:
    if not 0 < len(line["custom_id"]) <= LONGEST_ID:
        words = f"'custom_id' has 1 to {LONGEST_ID} characters."
        raise BadRequest(words, param="custom_id", code="invalid_value")
    if line["method"] != "POST":
        raise BadRequest("'method' must be POST.", param="method", code="invalid_value")
    if line["url"] != endpoint:
        words = "The URL of this request does not match the endpoint of the batch."
        raise BadRequest(words, param="url", code="url_mismatch")


class LineSplitter:
    """Bytes in, lines out, whatever the pieces. Of a line that is too long, only one byte too many is kept."""

    def __init__(self, longest_bytes: int) -> None:
        self._most = longest_bytes + 1
        self._rest = bytearray()
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Number, from 1, and content of each line that ends in this chunk; blank ones are only counted."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._keep(end)
            yield from self.finish()
        self._keep(rest)

    def finish(self) -> Iterator[tuple[int, bytes]]:
        """The line that ends here; after the last chunk, the one without an end of its own."""
        line, self._rest = bytes(self._rest), bytearray()
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(_BOM)
        if line.strip():
            yield self._number, line

    def _keep(self, data: bytes) -> None:
        self._rest += data[: self._most - len(self._rest)]
