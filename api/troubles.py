"""Silence is not an answer: what can be wrong with a job, by its record and the live workers. Pure.

What its client is told of, and how long it may be so before:

1. NO_WORKER    it is queued and its queue has no live worker        `no_worker_wait_s`
2. QUEUED       it is queued, and was never begun                    its deadline: `queue_wait_s`, or its client's
3. ENDED        its record is gone or ended, its answer is not over  5 s, the last frames may be on their way

Two more are mended, not told:

* WORKER_LOST   it runs on a worker that is not alive. It is taken back, and waits at the head of its lane for another
  that goes on with its answer. Only where no engine can go on with it, or its workers died one after another, is its
  client told.
* MESSAGE_LOST  it is queued, and there is no message on its lane for 5 s. A worker that is killed between taking a
  message and claiming its job takes the message with it, so another is pushed.
"""

from enum import Enum

from familyai.errors import Cancelled, RequestError, Unavailable
from familyai.jobs import MOST_ATTEMPTS, Record, State

WORKER_LOST_S = 1.0
ENDED_S = 5.0
MESSAGE_LOST_S = 5.0


QUEUE_TIMEOUT = "queue_timeout", "the request waited too long and was not begun"
LOST = "worker_lost", "the worker died in the middle of an answer that cannot be continued, so ask again"
SET_ASIDE = "set_aside", f"{MOST_ATTEMPTS} workers died one after another over this request, so it was set aside"
"""How it ends where nothing can be mended: an error's code and words."""


class Trouble(Enum):
    NO_WORKER = 1
    QUEUED = 2
    ENDED = 3
    WORKER_LOST = 4
    MESSAGE_LOST = 5


TOLD = (Trouble.NO_WORKER, Trouble.QUEUED, Trouble.ENDED)
"""What a client is told of, sooner or later, in this order."""
MENDED_AFTER_S = {Trouble.WORKER_LOST: WORKER_LOST_S, Trouble.MESSAGE_LOST: MESSAGE_LOST_S}


Since = dict[Trouble, float]
"""When each of a job's troubles was first seen, of those it has now."""


def troubles(record: Record, alive: set[str], lanes: set[str]) -> set[Trouble]:
    """`alive`: the workers of the job's queue; `lanes`: those in which a message lies."""
    match record.state:
        case State.QUEUED:
            waits = {Trouble.QUEUED: record.attempt == 0, Trouble.NO_WORKER: not alive}
            waits[Trouble.MESSAGE_LOST] = record.lane not in lanes
            return {trouble for trouble, is_so in waits.items() if is_so}
        case State.RUNNING:
            return set() if record.worker in alive else {Trouble.WORKER_LOST}
        case _:
            return {Trouble.ENDED}


def update(since: Since, now: set[Trouble], now_s: float) -> Since:
    """A trouble that passed is forgotten: its time starts anew when it comes back."""
    return {trouble: since.get(trouble, now_s) for trouble in now}


def verdict(
    since: Since, now_s: float, no_worker_wait_s: float, deadline_s: float, *, is_cancelled: bool = False
) -> RequestError | None:
    """What to tell the client, if it must be told."""
    for trouble in TOLD:
        allowed_s = _allowed_s(trouble, no_worker_wait_s, deadline_s)
        if trouble in since and now_s - since[trouble] >= allowed_s:
            return Cancelled("this request was taken back") if is_cancelled else _failure(trouble, allowed_s)
    return None


def due(since: Since, now_s: float) -> list[Trouble]:
    """What must be mended now."""
    return [trouble for trouble, after_s in MENDED_AFTER_S.items() if now_s - since.get(trouble, now_s) >= after_s]


def _allowed_s(trouble: Trouble, no_worker_wait_s: float, deadline_s: float) -> float:
    match trouble:
        case Trouble.NO_WORKER:
            return no_worker_wait_s
        case Trouble.QUEUED:
            return deadline_s
        case _:
            return ENDED_S


def _failure(trouble: Trouble, waited_s: float) -> Unavailable:
    match trouble:
        case Trouble.NO_WORKER:
            message = f"no worker has served this model for {waited_s:g} s; if it is starting, ask again in a minute"
            return Unavailable(message, code="no_worker", retry_after_s=10)
        case Trouble.QUEUED:
            message = f"the request waited its {waited_s:g} s and was not begun"
            return Unavailable(message, code="queue_timeout", retry_after_s=10)
        case _:
            return Unavailable("the end of the answer was lost on its way", code="reply_lost", retry_after_s=1)
