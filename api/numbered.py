"""Numbers for the events of a stream, by which somebody who lost it can say how far they had come. Pure.

Each event gets its number as its first line, `id: 7`, counted from 1. Comments get none. A blank line that ends no
event is left out: once OpenAI's client has seen a number, it takes every blank line for an event.
"""

import re

_BLANK = re.compile(rb"[\r\n]*")
_COMMENT_END = re.compile(rb"\n")
_EVENT_END = re.compile(rb"\n\r?\n")


class Numbered:
    """One stream, as far as it has come. `count`: how many of its events have begun.

    `after`: the events up to this one are left out, with what stands before them.
    """

    def __init__(self, after: int = 0) -> None:
        self.count = 0
        self._after = after
        self._until = _BLANK  # the end of what is under way: an event, a comment, or nothing
        self._is_shown = False
        self._seen = b""  # the last bytes of an event; its end may have begun

    @property
    def at_boundary(self) -> bool:
        """Whether all that was given back is whole events and comments."""
        return not self._is_shown

    def feed(self, data: bytes) -> bytes:
        """The next bytes, with numbers. They may begin and end anywhere."""
        text, given, at = self._seen + data, len(self._seen), 0
        pieces = list[bytes]()
        while at < len(text):
            end = self._until.search(text, at)
            start, at = max(at, given), end.end() if end else len(text)
            if self._is_shown:
                pieces.append(text[start:at])
            if end:
                pieces.append(self._next(text[at : at + 1]))
        self._seen = text[-2:] if self._until is _EVENT_END else b""
        return b"".join(pieces)

    def close(self) -> bytes:
        """What ends an event or comment that broke off, so that another can follow. Nobody has such an event whole: it
        does not count, and ends with the number of the one before it."""
        is_event = self._until is _EVENT_END
        self.count -= is_event
        if self.at_boundary:
            return b""
        line_end = b"" if self._seen.endswith(b"\n") else b"\n"
        return line_end + (b"id: %d\n\n" % self.count if is_event else b"")

    def _next(self, first: bytes) -> bytes:
        """Turns to what begins with this byte, and gives what stands before it."""
        if first in b"\r\n":  # or there is none yet
            self._until, self._is_shown = _BLANK, False
            return b""
        if first == b":":
            self._until, self._is_shown = _COMMENT_END, self.count >= self._after
            return b""
        self.count += 1
        self._until, self._is_shown = _EVENT_END, self.count > self._after
        return b"id: %d\n" % self.count if self._is_shown else b""
