"""Which queue serves a request, and why: the router. Pure: a request, the catalogue and the moment in, a decision out.

A model that is named is taken at its word: no other ever answers in its place. Under a route's name (`auto`) the kind
of the request decides: `classify` tells it, `place` finds the queue.
"""

from dataclasses import dataclass
from typing import Any

from familyai.allowance import Allowance
from familyai.catalogue import Prefer, Profile, Route, Task
from routing.classify import LONGEST_CODE_TOKENS, Signal, Verdict, classify
from routing.conversation import read
from routing.estimate import schema_tokens, text_tokens
from routing.place import NOTHING_KNOWN, Asked, Moment, place
from routing.resolve import Target, check_model, resolve, route_named, target
from routing.side_tasks import is_side_task
from routing.wished import wished

NAMED = "named"
ANYTHING = Allowance()


@dataclass(frozen=True)
class Decision:
    """`kind`: one of Kind, or `named`. `fallbacks`: the queues that would serve instead, in this order.

    `reason`: one line, without a word of the request's.
    """

    target: Target
    kind: str
    confidence: float
    reason: str
    signals: tuple[Signal, ...] = ()
    fallbacks: tuple[str, ...] = ()

    @property
    def header(self) -> str:
        """As a response says it: a structured field (RFC 9651), an item with parameters."""
        return f'{self.kind};confidence={self.confidence:.2f};reason="{self.reason}"'


def decide(
    body: dict[str, Any],
    profile: Profile,
    allowance: Allowance,
    *,
    task: Task = Task.GENERATE,
    moment: Moment = NOTHING_KNOWN,
    prefer: Prefer | None = None,
) -> Decision:
    """Raises BadRequest and NotFound for a model that is none, Forbidden for one that is not theirs."""
    name = body.get("model")
    route = route_named(name, profile)
    if route is None or task is not Task.GENERATE:
        return named(name, resolve(name, profile, task), allowance)
    of_schemas = schema_tokens(body)
    tokens = text_tokens(body, exact_from=_least_limit(profile) - of_schemas)
    verdict = judge(body, tokens, route, prefer)
    found = place(Asked(verdict, tokens + of_schemas, profile, allowance, moment))
    reason = "; ".join((verdict.reason, *found.notes))
    to = target(found.queue, profile)
    return Decision(to, verdict.kind, round(verdict.confidence, 3), reason, verdict.signals, found.fallbacks)


def _least_limit(profile: Profile) -> int:
    """In tokens: what is shorter is not too long for anything."""
    return min(LONGEST_CODE_TOKENS, profile.shortest_context_tokens or LONGEST_CODE_TOKENS)


def judge(body: dict[str, Any], tokens: int, route: Route, prefer: Prefer | None = None) -> Verdict:
    """What kind of request it is, whoever asks and whenever. `tokens`: of what was said."""
    conversation = read(body)
    return classify(
        conversation,
        tokens,
        wish=wished(body, prefer, route.prefer),
        is_side_task=is_side_task(body, conversation),
        kinds=route.kinds,
    )


def named(name: Any, to: Target, allowance: Allowance = ANYTHING) -> Decision:
    """For what a client asked for by a queue's name, a model's, or another that means one. Raises Forbidden."""
    check_model(allowance, to)
    said = f"{to.queue} was asked for" if name in (to.queue, to.model.model) else f"this name means {to.queue}"
    return Decision(to, NAMED, 1.0, said)
