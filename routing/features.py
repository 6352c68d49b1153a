"""What can be seen in a conversation: named signals and how strong each is, for the linear model to weigh. Pure.

What was said last counts whole, what was said before half as much for each turn that lies between. Of long texts the
beginning, a piece of the middle and the end are read, so that time and memory do not grow with a pasted file.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from routing import lexicon
from routing.conversation import Conversation, Turn
from routing.shape import shape
from routing.words import beginning, pieces, plain, wording, words_of

Features = dict[str, float]

MOSTLY = "mostly "
"""Before a concept, for how much of the text is about it."""
AGENT_TOOLS_USED = "used tools of a coding agent"
THOUGHT_WISHED = "wishes for thought"

DECAY = 0.5
"""Of a turn's say, for each turn of the same side after it."""
TURNS = 4
"""So many of each side's last turns are looked at, and the first of all."""
_READ = {"last": 1_600, "earlier": 600, "assistant": 600, "system": 1_000}
"""Characters of a turn that are read."""
_WORDING_READ = 500
"""Characters of what was asked last whose wording is looked at."""
_FULL = 3.0
"""So many occurrences say as much as can be said."""
_FEW_WORDS = 6
_WORDING = 2.0

_LEXICA = lexicon.load()

_SENTENCE = re.compile(r"[.!?;。！？；\n]+")
_AGENT_TOOL = re.compile(
    r"edit|write_?file|read_?file|file_|_file|patch|str_replace|bash|shell|terminal|command|exec|run_|_run|grep|glob|"
    r"codebase|list_?dir|browser|click|navigate|page|screenshot|playwright|git|commit|repo|diff|lint|test|notebook|"
    r"task_?complete|attempt_completion|computer",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Seen:
    """`named`: every signal that has a name, with a value of up to about 1. `wording`: sets of pieces of what was said
    last, each with the value that all its pieces have."""

    named: Features
    wording: tuple[tuple[float, frozenset[str]], ...] = ()


def see(conversation: Conversation) -> Seen:
    """All that there is."""
    asked = conversation.asked
    return Seen(_named(conversation), _wording(asked[-1]) if asked else ())


def _named(conversation: Conversation) -> Features:
    found: defaultdict[str, float] = defaultdict(float)
    for weight, turn, part in _read(conversation):
        for name, value in _of_turn(turn, part).items():
            found[name] += weight * value
    for name, value in (_of_request(conversation) | _of_system(conversation.system)).items():
        found[name] += value
    return dict(found)


def _read(conversation: Conversation) -> Iterator[tuple[float, Turn, str]]:
    """The turns that count, and how much each does."""
    asked = [turn for turn in conversation.turns if turn.role == "user" and turn.text]
    for at, turn in enumerate(reversed(asked[-TURNS:])):
        yield DECAY**at, turn, "earlier" if at else "last"
    if len(asked) > TURNS:
        yield DECAY**TURNS, asked[0], "earlier"
    answered = [turn for turn in conversation.turns if turn.role == "assistant" and turn.text]
    for at, turn in enumerate(reversed(answered[-2:])):
        yield DECAY**at, turn, "assistant"


def _of_turn(turn: Turn, part: str) -> Features:
    text = excerpt(turn.text, _READ[part])
    looks = {name: _strength(count) for name, count in shape(text).items() if count}
    if part == "assistant":
        return {f"answered with {name}": value for name, value in looks.items()}
    prose = _prose(text)
    words = words_of(prose)
    found = looks | _concepts(prose, words)
    if part == "last":
        found |= _sizes(prose, words)
    return found


def _of_request(conversation: Conversation) -> Features:
    """What is not said in any turn of the user's."""
    calls = [name for turn in conversation.turns[-20:] for name in turn.calls]
    agent_tools = sum(1 for name in conversation.tools[:200] if _AGENT_TOOL.search(name))
    found = {
        "tools of a coding agent": min(1.0, agent_tools / 2),
        "tools of everyday use": float(bool(conversation.tools) and not agent_tools),
        AGENT_TOOLS_USED: float(any(_AGENT_TOOL.search(name) for name in calls)),
        "goes on with earlier turns": float(len(conversation.asked) > 1),
        "fills a gap in a text": float(conversation.fills_in),
    }
    return {name: value for name, value in found.items() if value}


def _of_system(system: str) -> Features:
    prose = plain(excerpt(system, _READ["system"]))
    concepts = _LEXICA.concepts(prose, words_of(prose))
    return {f"instructed: {name}": _strength(count) for name, count in concepts.items()}


def _concepts(prose: str, words: list[str]) -> Features:
    """How often each is meant, and how much of the text is about it."""
    counts = _LEXICA.concepts(prose, words)
    length = max(_FEW_WORDS, _length(prose, words))
    mostly = {MOSTLY + name: min(1.0, _FEW_WORDS * count / length) for name, count in counts.items()}
    return {name: _strength(count) for name, count in counts.items()} | mostly


def _sizes(prose: str, words: list[str]) -> Features:
    count = _length(prose, words)
    sizes = {"very short": count <= 4, "short": 4 < count <= 12, "long": 45 < count <= 150, "very long": count > 150}
    return {name: 1.0 for name, is_it in sizes.items() if is_it} | {
        "its length": min(1.0, math.log1p(count) / 6),
        "its sentences": min(1.0, len(_SENTENCE.findall(prose)) / 8),
    }


def _length(prose: str, words: list[str]) -> float:
    """In words, of which a Chinese character is about half a one."""
    return len(words) + (0 if prose.isascii() else sum(1 for char in prose if char > "⺀") / 1.7)


def _wording(text: str) -> tuple[tuple[float, frozenset[str]], ...]:
    """Whole words, how it begins, and pieces of words: of each sort all together say as much, however many they are."""
    prose = _prose(excerpt(text, _WORDING_READ))
    words = words_of(prose)
    sorts = wording(prose, words), beginning(prose, words), pieces(words)
    return tuple((_WORDING / math.sqrt(len(sort)), frozenset(sort)) for sort in sorts if sort)


def _prose(text: str) -> str:
    """Plain, without what stands in code blocks."""
    return plain(" ".join(text.split("```")[::2]) or text)


def excerpt(text: str, most: int) -> str:
    """The beginning, a piece of the middle and the end of what is too long to be read."""
    if len(text) <= most:
        return text
    part, middle = most * 2 // 5, len(text) // 2
    return f"{text[:part]}\n{text[middle : middle + most // 5]}\n{text[-part:]}"


def _strength(count: float) -> float:
    return min(1.0, count / _FULL)
