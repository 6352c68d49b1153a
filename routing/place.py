"""Which queue serves a kind of request: the first that the catalogue lists, unless something is against it. Pure.

Of the listed queues, those count that the member may use, that can do what is asked, and whose context is long enough.
Of these, in this order:

1. the one that answered the conversation before, as long as it does: hopping costs a warm prefix cache;
2. the best, if it has a live worker and can begin in time;
3. that of a kind about as likely, if its model is loaded;
4. the next one that is ready, and the reason says so;
5. the best, for whose worker the request then waits.
"""

from dataclasses import dataclass

from familyai.allowance import Allowance
from familyai.catalogue import Profile, Task
from familyai.errors import BadRequest, RequestError
from familyai.kinds import CHAT, CODE, Kind
from routing.classify import Verdict
from routing.resolve import Target, may_use, not_theirs, target

EQUAL = 0.2
"""Two kinds whose probabilities differ by less are about as likely."""
HOP = 0.6
"""So sure must the router be of a stronger model, or one of the other family, for a conversation to change to it."""


@dataclass(frozen=True)
class Moment:
    """What the household is like just now. By default nothing is known, and so nothing stands against any queue.

    `alive`: physical queues with a live worker; None: unknown. `late`: those that cannot begin in time. `last`: the
    queue that answered this conversation before.
    """

    alive: frozenset[str] | None = None
    late: frozenset[str] = frozenset()
    last: str | None = None


NOTHING_KNOWN = Moment()


@dataclass(frozen=True)
class Place:
    """`notes`: what stood against better queues. `fallbacks`: those that would serve instead, in this order."""

    queue: str
    notes: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What the choice looks at. `tokens`: of the prompt."""

    verdict: Verdict
    tokens: int
    profile: Profile
    allowance: Allowance
    moment: Moment = NOTHING_KNOWN


def place(asked: Asked) -> Place:
    """Raises BadRequest when no queue serves this kind, Forbidden when only others' queues do."""
    listed = asked.profile.serving(asked.verdict.kind)
    against = {queue: _against(queue, asked) for queue in listed}
    possible = [queue for queue in listed if against[queue] is None]
    if not possible:
        return _longest(asked, [queue for queue in listed if _serves(target(queue, asked.profile), asked)])
    queue, notes = _chosen(possible, asked)
    better = listed[: listed.index(queue if queue in possible else possible[0])]
    passed = tuple(why for other in better if (why := against[other]) is not None)
    notes = (*passed, *notes, *_blindness(queue, asked))
    return Place(queue, notes, tuple(other for other in possible if other != queue))


def _longest(asked: Asked, theirs: list[str]) -> Place:
    """Where it may be too long for every model: the one that reads most, which knows best. Raises RequestError."""
    if not theirs:
        raise _nobody(asked)
    longest = max(theirs, key=lambda queue: target(queue, asked.profile).model.context_tokens or 0)
    return Place(longest, ("it may be too long for every model of this household",))


def _blindness(queue: str, asked: Asked) -> tuple[str, ...]:
    sees = asked.verdict.kind is not Kind.VISION or target(queue, asked.profile).model.sees_images
    return () if sees else ("but no model of this household sees images",)


def _against(queue: str, asked: Asked) -> str | None:
    """Why a queue cannot serve it whatever the moment; None if it can."""
    to = target(queue, asked.profile)
    if not _serves(to, asked):
        return f"{queue} is not yours to use"
    context = to.model.context_tokens
    if context is not None and asked.tokens >= context:
        return f"it is too long for {queue}"
    return None


def _serves(to: Target, asked: Asked) -> bool:
    return may_use(asked.allowance, to) and Task.GENERATE in to.model.tasks


def _chosen(possible: list[str], asked: Asked) -> tuple[str, tuple[str, ...]]:
    best = possible[0]
    if (stays := _stays_with(possible, asked)) is not None:
        return stays, () if stays == best else (f"the conversation stays with {stays}",)
    if (why_not := _not_now(best, asked)) is None:
        return best, ()
    if (other := _about_as_good(asked)) is not None:
        return other, (f"{why_not}, and {other} is about as likely",)
    ready = next((queue for queue in possible if _not_now(queue, asked) is None), None)
    if ready is None:
        return best, ()
    return ready, (f"{why_not}, so {ready} answers",)


def _not_now(queue: str, asked: Asked) -> str | None:
    """Why a queue should not serve it just now; None if it should."""
    physical, moment = asked.profile.physical(queue), asked.moment
    if moment.alive is not None and physical not in moment.alive:
        return f"{queue} has no worker"
    return f"{queue} cannot begin in time" if physical in moment.late else None


def _stays_with(possible: list[str], asked: Asked) -> str | None:
    """The queue of the conversation so far, unless this request needs another."""
    last, verdict = asked.moment.last, asked.verdict
    if last is None or last not in asked.profile.queues or len(verdict.scores) == 1:
        return None  # or its kind is certain
    usable = last in possible or _against(last, asked) is None
    if not usable or _not_now(last, asked) is not None:
        return None
    was = next((kind for kind in verdict.scores if asked.profile.serving(kind)[0] == last), None)
    if was is None:
        return None
    return last if _does(was, verdict) else None


def _does(was: Kind, verdict: Verdict) -> bool:
    """Whether a model for one kind does for this request."""
    family = CODE if was in CODE else CHAT
    as_strong = verdict.kind in family and family.index(was) >= family.index(verdict.kind)
    return as_strong or verdict.confidence < HOP


def _about_as_good(asked: Asked) -> str | None:
    """The best queue of a kind about as likely, if it is ready."""
    scores = asked.verdict.scores
    for kind in sorted(scores, key=scores.__getitem__, reverse=True)[1:2]:
        queue = asked.profile.serving(kind)[0]
        is_equal = scores[asked.verdict.kind] - scores[kind] < EQUAL
        if is_equal and _against(queue, asked) is None and _not_now(queue, asked) is None:
            return queue
    return None


def _nobody(asked: Asked) -> RequestError:
    listed = asked.profile.serving(asked.verdict.kind)
    if not listed:
        return BadRequest(f"no queue of this household serves {asked.verdict.kind}", param="model", code="no_queue")
    return not_theirs(asked.allowance, listed[0])
