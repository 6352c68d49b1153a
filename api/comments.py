"""What a stream says while it waits: comments, which clients of event streams skip. Pure.

`: queued position=2 eta_s=4`, without `eta_s` while nobody knows; then `: started`, unless its words come at once; and
`: still here` where it is silent for long. No blank line follows them: see `api/numbered.py`.
"""

import math

from familyai.line import Place

OPEN_AFTER_S = 1.5
"""A request that starts sooner is answered as if there were no line."""
AT_MOST_EVERY_S = 1.0
AT_LEAST_EVERY_S = 5.0
"""Proxies take a stream that is silent for long for a dead one."""
NOTICEABLE_S, NOTICEABLE_SHARE = 1.0, 0.2
STARTED = b": started\n"
STILL_HERE = b": still here\n"


class Comments:
    """What was said last, and when; it decides what is worth saying now."""

    def __init__(self) -> None:
        self._said: Place | None = None
        self._said_at_s = -math.inf

    def due(self, place: Place, now_s: float) -> bytes | None:
        """A comment on where the job stands now, if it is time for one."""
        silent_s = now_s - self._said_at_s
        if silent_s < AT_MOST_EVERY_S or (silent_s < AT_LEAST_EVERY_S and not self._is_news(place)):
            return None
        self._said, self._said_at_s = place, now_s
        return _queued(place)

    def _is_news(self, place: Place) -> bool:
        if self._said is None or place.position != self._said.position:
            return True
        if place.eta_s is None or self._said.eta_s is None:
            return place.eta_s is not self._said.eta_s
        return abs(place.eta_s - self._said.eta_s) >= max(NOTICEABLE_S, NOTICEABLE_SHARE * self._said.eta_s)


def _queued(place: Place) -> bytes:
    eta = "" if place.eta_s is None else f" eta_s={math.ceil(place.eta_s)}"
    return f": queued position={place.position}{eta}\n".encode()
