"""Whose turn it is: the fair order, as one worker keeps it between Celery's thread and the engine's loop.

Celery's thread asks before each job in which order to drain the lanes, and reports each message that it takes; the
engine's loop reports what jobs turn out to cost, and when they end. Nothing here waits or talks to the broker: what was
charged is collected for the other workers of the model (`workers.fairness`).
"""

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from familyai.fair import FairOrder


@dataclass(eq=False)
class Turn:
    """One delivery of a message to Celery. `began`: whether there was room for it; else it goes back."""

    lane: str
    weight: float
    width: int
    charged: float
    began: bool
    held: bool = False


class Turns:
    """All methods may be called from any thread."""

    def __init__(self, order: FairOrder) -> None:
        self._order = order
        self._lock = threading.Lock()
        self._arrived: dict[str, deque[Turn]] = {}
        self._unshared: dict[str, float] = {}
        self._held_until_s: dict[str, float] = {}
        self._left_out = False
        self.outdated = False
        """Whether a lane that was left out of the pending request for messages may now be served."""

    def lanes(self, names: Iterable[str]) -> list[str]:
        """Those that may begin a job now, who goes first first."""
        with self._lock:
            names = list(names)
            ready = self._ready(names)
            self._left_out, self.outdated = 0 < len(ready) < len(names), False  # for none, kombu asks nothing
            return ready

    def could_begin(self, names: Iterable[str]) -> bool:
        """The same as a question, by someone who will not act on it."""
        with self._lock:
            return self._order.could_start(self._not_held(names))

    def arrived(self, tag: str, lane: str, cost: float, weight: float, width: int) -> None:
        """Charges a job that Celery has taken, if there is room for it; else its lane waits until there is.

        `tag`: the message's own. A message that is delivered twice, because the connection to the broker broke, has two
        turns.
        """
        with self._lock:
            began = self._order.fits(lane, width)
            turn = Turn(lane, weight, width, cost if began else 0.0, began)
            self._arrived.setdefault(tag, deque()).append(turn)
            if began:
                self._order.start(lane, cost, weight, width)
                self._share(lane, cost / weight)
            else:
                self._order.needs(lane, width)

    def begin(self, tag: str) -> Turn:
        """The turn of a message that arrived and is now to be served. Raises KeyError for one that never did."""
        with self._lock:
            turn = self._arrived[tag].popleft()
            if not self._arrived[tag]:
                del self._arrived[tag]
            return turn

    def grown(self, turn: Turn, service: float) -> None:
        """What a running job has cost so far; more than its estimate is charged as it grows."""
        with self._lock:
            self._charge(turn, max(0.0, service - turn.charged))

    def over(self, turn: Turn, service: float) -> None:
        """Its places are free, and it is charged what it did cost in all: less than its estimate is given back."""
        with self._lock:
            if turn.began:
                self._charge(turn, service - turn.charged)
                self._order.end(turn.lane, turn.width)
            if turn.began and not turn.held:
                self._held_until_s.pop(turn.lane, None)
            self.outdated = self._left_out

    def hold(self, turn: Turn, for_s: float) -> None:
        """Its member has as many running as may: so long later that may have changed, or when one of them is over."""
        with self._lock:
            turn.held = True
            self._held_until_s[turn.lane] = time.monotonic() + for_s
            self._left_out = True

    def forget_width(self, lane: str) -> None:
        """The lane's next job may be gone, which was too wide to begin: if it is not, that is found out once more."""
        with self._lock:
            self._order.needs(lane, 1)
            self.outdated = self._left_out

    def release_held(self) -> None:
        """To be called when a hold may be over."""
        with self._lock:
            now_s = time.monotonic()
            self._held_until_s = {lane: until_s for lane, until_s in self._held_until_s.items() if until_s > now_s}
            self.outdated = self._left_out

    def take_unshared(self) -> dict[str, float]:
        """What was charged since the last call, by lane, over the members' weights."""
        with self._lock:
            unshared, self._unshared = self._unshared, {}
            return unshared

    def learn(self, counters: dict[str, float]) -> None:
        """What all workers of the model have charged together, as of `take_unshared`."""
        with self._lock:
            for lane, counter in counters.items():
                self._order.counters[lane] = counter + self._unshared.get(lane, 0.0)

    def _ready(self, names: list[str]) -> list[str]:
        return self._order.order(self._not_held(names))

    def _not_held(self, names: Iterable[str]) -> list[str]:
        now_s = time.monotonic()
        return [name for name in names if self._held_until_s.get(name, 0.0) <= now_s]

    def _charge(self, turn: Turn, service: float) -> None:
        if service:
            turn.charged += service
            self._order.charge(turn.lane, service, turn.weight)
            self._share(turn.lane, service / turn.weight)

    def _share(self, lane: str, service: float) -> None:
        self._unshared[lane] = self._unshared.get(lane, 0.0) + service


class LaneCycle:
    """What kombu asks (`kombu.utils.scheduling`): it makes several, so what they know is kept in the turns."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._lanes: list[str] = []

    def update(self, lanes: Iterable[str]) -> None:
        self._lanes = list(lanes)

    def consume(self, n: int) -> list[str]:
        return self._turns.lanes(self._lanes[:n])

    def rotate(self, last_used: Any) -> Any:
        """The order does not depend on it."""
        return last_used
