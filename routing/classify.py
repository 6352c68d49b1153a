"""What kind of request it is: a network weighs what it says, and what is certain goes before. Pure.

1. A chat UI's side task, or an image anywhere: certain.
2. Code or chat, by the network.
3. Code: over `LONGEST_CODE_TOKENS` of it, whatever is asked of that, or tools of a coding agent in use: `code-agentic`.
4. Chat: what the request wishes by name goes before what the network made of its words.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache

from familyai.kinds import CHAT, CODE, Kind
from routing.conversation import Conversation
from routing.features import AGENT_TOOLS_USED, AT_FIRST, AT_LAST, MOSTLY, THOUGHT_WISHED, Seen, excerpt, see
from routing.network import WORDING, Network, Scores, load, shares
from routing.shape import is_mostly_code
from routing.wished import NOTHING, Thought, Wished

LONGEST_CODE_TOKENS = 8_000
"""What is longer needs a model for repositories."""
TURNS = 3
"""Of the user's, that are looked at."""
MOST_SIGNALS = 8
_IN_A_REASON = 3
_READ_OF_LONG = 2_000
"""Characters, for whether a text that is as long as that is code."""
_WHERE = re.compile("|".join((MOSTLY, AT_FIRST, AT_LAST)))
_SAYS_LITTLE = frozenset({WORDING, "its length", "its sentences"})


_NETWORK = load()


@dataclass(frozen=True)
class Signal:
    """Something seen in a request, and how much it spoke for its kind, in log-odds against the next best."""

    name: str
    weight: float


@dataclass(frozen=True)
class Verdict:
    """`confidence`: the network's probability of the kind, 1 where a rule decides. `scores`: of all kinds that it could
    be."""

    kind: Kind
    confidence: float
    signals: tuple[Signal, ...]
    reason: str
    scores: Scores


def certain(kind: Kind, reason: str) -> Verdict:
    return Verdict(kind, 1.0, (Signal(reason, 1.0),), reason, {kind: 1.0})


def classify(
    conversation: Conversation,
    tokens: int,
    *,
    wish: Wished = NOTHING,
    is_side_task: bool = False,
    kinds: tuple[Kind, ...] = (*CODE, *CHAT),
) -> Verdict:
    """`tokens`: of the whole conversation. `kinds`: those it may be, besides a side task and an image."""
    if conversation.has_image:
        return certain(Kind.VISION, "an image")
    if is_side_task:
        return certain(Kind.SIDE_TASK, "a chat UI's side task")
    seen = seen_last(conversation, _NETWORK)
    verdict = _weighed(seen, kinds)
    is_long_code = tokens > LONGEST_CODE_TOKENS and is_mostly_code(excerpt(conversation.asked_last, _READ_OF_LONG))
    if Kind.CODE_AGENTIC in kinds and (verdict.kind in CODE or is_long_code):
        return _code(verdict, conversation, seen, tokens)
    return verdict if verdict.kind in CODE else _chat(verdict, seen, wish, kinds)


def seen_last(conversation: Conversation, network: Network) -> Seen:
    """The user's last turn, in the light of the network's judgement of the turns before it, each in that of its own."""
    *earlier, last = conversation.as_it_stood(TURNS)
    before: Scores | None = None
    for state in earlier:
        before = shares(network.judge(see(state, before)).scores)
    return see(last, before)


def _weighed(seen: Seen, kinds: tuple[Kind, ...]) -> Verdict:
    judged = _NETWORK.judge(seen)
    odds = shares({kind: score for kind, score in judged.scores.items() if kind in kinds})
    kind, *others = sorted(odds, key=odds.__getitem__, reverse=True)
    signals = _signals(judged.contributions(kind, others[0])) if others else ()
    return Verdict(kind, odds[kind], signals, _reason(signals, kind), odds)


def _signals(contributions: dict[str, float]) -> tuple[Signal, ...]:
    """The strongest, wherever in the text they stood."""
    weights: defaultdict[str, float] = defaultdict(float)
    for name, weight in contributions.items():
        weights[_anywhere(name)] += weight
    strongest = sorted(weights, key=lambda name: abs(weights[name]), reverse=True)[:MOST_SIGNALS]
    return tuple(Signal(name, round(weights[name], 3)) for name in strongest)


@cache
def _anywhere(name: str) -> str:
    return _WHERE.sub("", name)


def _reason(signals: tuple[Signal, ...], kind: Kind) -> str:
    """Names of signals only, never words of the request: it stands in a header."""
    names = [signal.name for signal in signals if signal.weight > 0 and signal.name not in _SAYS_LITTLE]
    return ", ".join(names[:_IN_A_REASON]) or f"most like {kind}"


def _code(verdict: Verdict, conversation: Conversation, seen: Seen, tokens: int) -> Verdict:
    if tokens > LONGEST_CODE_TOKENS:
        return _decided(verdict, Kind.CODE_AGENTIC, f"over {LONGEST_CODE_TOKENS:,} tokens of code")
    if conversation.fills_in:
        return _decided(verdict, Kind.CODE_TRADITIONAL, "fills a gap in a text")
    if AGENT_TOOLS_USED in seen.named:
        return _decided(verdict, Kind.CODE_AGENTIC, AGENT_TOOLS_USED)
    return verdict


def _chat(verdict: Verdict, seen: Seen, wish: Wished, kinds: tuple[Kind, ...]) -> Verdict:
    """What is wished as far as the route has such a kind."""
    thought, said = wish.thought, wish.said
    if thought is None and THOUGHT_WISHED in seen.named:
        thought, said = Thought.MOST, THOUGHT_WISHED
    return verdict if thought is None else as_wished(verdict, thought, said, kinds)


def as_wished(verdict: Verdict, thought: Thought, said: str, kinds: tuple[Kind, ...]) -> Verdict:
    """Of another kind, where that is wished; else without the kinds that are not, lest a conversation stay with one."""
    kind = _wished(verdict.kind, thought)
    if kind not in kinds:
        return verdict
    if kind is not verdict.kind or thought is Thought.MOST:
        return _decided(verdict, kind, said)
    allowed = {
        known: share for known, share in verdict.scores.items() if known in CODE or _wished(known, thought) is known
    }
    return replace(verdict, scores=allowed)


def _wished(kind: Kind, thought: Thought | None) -> Kind:
    if thought is Thought.MOST:
        return Kind.CHAT_REASONING
    if thought is Thought.LITTLE:
        return min(kind, Kind.CHAT_FAST, key=CHAT.index)
    if thought is Thought.LEAST:
        return CHAT[max(0, CHAT.index(kind) - 1)]
    return kind


def _decided(verdict: Verdict, kind: Kind, reason: str) -> Verdict:
    """By a rule, within what the network made of it."""
    family = CODE if kind in CODE else CHAT
    confidence = sum(share for known, share in verdict.scores.items() if known in family)
    signals = (Signal(reason, 1.0), *verdict.signals)[:MOST_SIGNALS]
    return replace(verdict, kind=kind, confidence=confidence, signals=signals, reason=reason, scores={kind: confidence})
