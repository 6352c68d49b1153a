"""A stream of events as it comes in, cut anywhere. Pure."""

from dataclasses import dataclass
from typing import NamedTuple


class Event(NamedTuple):
    """`number` is its id's; None where it has none."""

    at_s: float
    number: int | None
    data: bytes


@dataclass
class EventReader:
    """Of one connection. What was not closed by a blank line when it broke never was an event."""

    _rest: bytes = b""

    def feed(self, data: bytes, at_s: float) -> list[Event]:
        """The events that are whole now. Comments are none."""
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        return [event for block in blocks if (event := _event(block, at_s)) is not None]

    @property
    def is_torn(self) -> bool:
        """Whether an event has begun and is not over."""
        return _event(self._rest, 0.0) is not None


def _event(block: bytes, at_s: float) -> Event | None:
    fields = [line.partition(b":")[::2] for line in block.split(b"\n") if line and not line.startswith(b":")]
    if not fields:
        return None
    numbers = [int(value) for name, value in fields if name == b"id" and value.strip().isdigit()]
    lines = [value.removeprefix(b" ") for name, value in fields if name == b"data"]
    return Event(at_s, numbers[-1] if numbers else None, b"\n".join(lines))
