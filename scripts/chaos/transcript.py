"""What one client saw of one answer, over however many connections."""

from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise

from .events import Event
from .questions import Question


class Ended(Enum):
    """How it stopped, from the client's side."""

    WAITING = auto()
    """It has not: nothing more came within the limit."""
    IN_ORDER = auto()
    """The response was over as HTTP ends one."""
    CUT = auto()
    """The connection broke, or there was none."""
    REFUSED = auto()
    """With a status other than 200."""
    LEFT = auto()
    """The client hung up, and never came back."""


@dataclass
class Transcript:
    """`status` and `code`: of a refusal; `code` also says how it was cut. `body`: of what is no event stream.
    `left_after`: events that had come when its client hung up; 0: it did not."""

    question: Question
    began_s: float
    ended: Ended = Ended.WAITING
    ended_s: float = 0.0
    status: int = 200
    code: str = ""
    job_id: str = ""
    events: list[Event] = field(default_factory=list)
    body: bytes = b""
    is_torn: bool = False
    left_after: int = 0
    connections: int = 0

    @property
    def last_number(self) -> int:
        """The id of the last event that came with one: where to go on from."""
        return max((event.number or 0 for event in self.events), default=0)

    def longest_gap(self) -> tuple[float, float]:
        """From when to when nothing came between two events, in seconds of this machine's clock.

        Both 0 where there is no such time; a client that hung up was silent by its own choice.
        """
        gaps = enumerate(pairwise(event.at_s for event in self.events), start=1)
        others = [gap for number, gap in gaps if number != self.left_after]
        return max(others, key=lambda gap: gap[1] - gap[0], default=(0.0, 0.0))
