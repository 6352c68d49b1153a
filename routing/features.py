"""What can be seen in a conversation: named signals and how strong each is, for the network to weigh. Pure.

Each turn of the user's is seen by itself, in the light of what the conversation was before it. Of long texts the
beginning, a piece of the middle and the end are read, so that time and memory do not grow with a pasted file.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from familyai.kinds import Kind
from routing import lexicon
from routing.conversation import Conversation
from routing.shape import lines_of_code, shape
from routing.words import beginning, pieces, plain, wording, words_of

Features = dict[str, float]

MOSTLY = "mostly "
"""Before a concept, for how much of the text is about it."""
AT_FIRST, AT_LAST = "at first: ", "at last: "
"""Before a signal of the first or the last sentence: what is wanted stands there, however long the story between."""
AGENT_TOOLS_USED = "used tools of a coding agent"
THOUGHT_WISHED = "wishes for thought"

BEFORE = "was "
"""Before a kind: with which probability the conversation was of it."""

_READ = {"last": 300, "answer": 200, "system": 300}
"""Characters of a turn that are read."""
_WORDING_READ = 200
"""Characters of what was asked last whose wording is looked at."""
_FULL = 3.0
"""So many occurrences say as much as can be said."""
_FULL_IN_A_SENTENCE = 2.0
_LONG_SENTENCE = 15
"""Words."""
_FEW_WORDS = 6
_WORDING = 2.0
_BEFORE_CHINESE = "⺀"

_LEXICA = lexicon.load()

_SENTENCE = re.compile(r"[.!?;。！？；\n]+")
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?;:。！？；：])\s+|(?<=[。！？；])|\n+")
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
    wording: tuple[tuple[float, AbstractSet[str]], ...] = ()


def see(conversation: Conversation, before: Mapping[Kind, float] | None = None) -> Seen:
    """All that there is in a conversation with one turn of the user's, in the light of what it was `before` that: with
    which probability of each kind."""
    last = conversation.asked_last
    was = {f"{BEFORE}{kind}": share for kind, share in (before or {}).items()}
    said = _said(excerpt(last, _READ["last"]))
    found = _of_last(said) | _of_answers(conversation) | _of_request(conversation) | _of_system(conversation.system)
    worded = said if len(last) <= _WORDING_READ else _said(excerpt(last, _WORDING_READ))
    return Seen(found | was, _wording(worded) if last else ())


@dataclass(frozen=True)
class _Said:
    """A text, what of it is prose, the words of that, and how long it is in words."""

    text: str
    prose: str
    words: list[str]
    length: float


def _said(text: str) -> _Said:
    prose = plain(" ".join(text.split("```")[::2]) or text)  # without what stands in code blocks
    words = words_of(prose)
    return _Said(text, prose, words, len(words) + _chinese_words(prose))


def _chinese_words(prose: str) -> float:
    """A character is about half a one."""
    return 0.0 if prose.isascii() else sum(map(_BEFORE_CHINESE.__lt__, prose)) / 1.7


def _of_last(said: _Said) -> Features:
    language = _LEXICA.language(said.prose, said.words)
    return _looks(said.text) | _concepts(said, language) | _sizes(said) | _ends(said.text, language)


def _ends(text: str, language: str) -> Features:
    """Of a text of several sentences, what the first and the last say."""
    first, *others = [sentence for sentence in _BETWEEN_SENTENCES.split(text) if sentence.strip()] or [""]
    ends = ((AT_FIRST, first), (AT_LAST, others[-1])) if others else ()
    return {where + name: value for where, said in ends for name, value in _of_sentence(said, language).items()}


def _of_sentence(text: str, language: str) -> Features:
    said = _said(text)
    counts = _LEXICA.concepts(said.prose, said.words, language)
    found = {name: min(1.0, count / _FULL_IN_A_SENTENCE) for name, count in counts.items()}
    looks = {"a question": "?" in text or "？" in text, "lines of code": lines_of_code(text) > 0}
    length = min(1.0, said.length / _LONG_SENTENCE)
    return found | {"its length": length} | {name: 1.0 for name, is_it in looks.items() if is_it}


def _of_answers(conversation: Conversation) -> Features:
    """What the last two look like, the one before the last half as strong."""
    answers = [turn.text for turn in conversation.turns if turn.role == "assistant" and turn.text][-2:]
    found: defaultdict[str, float] = defaultdict(float)
    for strength, text in zip((1.0, 0.5), reversed(answers), strict=False):
        for name, value in _looks(excerpt(text, _READ["answer"])).items():
            found[f"answered with {name}"] += strength * value
    return dict(found)


def _looks(text: str) -> Features:
    return {name: _strength(count) for name, count in shape(text).items() if count}


def _of_request(conversation: Conversation) -> Features:
    """What is not said in any turn of the user's."""
    calls = [name for turn in conversation.turns[-20:] for name in turn.calls]
    agent_tools = sum(1 for name in conversation.tools[:200] if _AGENT_TOOL.search(name))
    found = {
        "tools of a coding agent": min(1.0, agent_tools / 2),
        "tools of everyday use": float(bool(conversation.tools) and not agent_tools),
        AGENT_TOOLS_USED: float(any(_AGENT_TOOL.search(name) for name in calls)),
        "fills a gap in a text": float(conversation.fills_in),
    }
    return {name: value for name, value in found.items() if value}


def _of_system(system: str) -> Features:
    if not system:
        return {}
    prose = plain(excerpt(system, _READ["system"]))
    concepts = _LEXICA.concepts(prose, words_of(prose))
    return {f"instructed: {name}": _strength(count) for name, count in concepts.items()}


def _concepts(said: _Said, language: str) -> Features:
    """How often each is meant, and how much of the text is about it."""
    counts = _LEXICA.concepts(said.prose, said.words, language)
    length = max(_FEW_WORDS, said.length)
    mostly = {MOSTLY + name: min(1.0, _FEW_WORDS * count / length) for name, count in counts.items()}
    return {name: _strength(count) for name, count in counts.items()} | mostly


def _sizes(said: _Said) -> Features:
    count = said.length
    sizes = {"very short": count <= 4, "short": 4 < count <= 12, "long": 45 < count <= 150, "very long": count > 150}
    return {name: 1.0 for name, is_it in sizes.items() if is_it} | {
        "its length": min(1.0, math.log1p(count) / 6),
        "its sentences": min(1.0, len(_SENTENCE.findall(said.prose)) / 8),
    }


def _wording(said: _Said) -> tuple[tuple[float, AbstractSet[str]], ...]:
    """Whole words, how it begins, and pieces of words: of each sort all together say as much, however many they are."""
    sorts = wording(said.prose, said.words), beginning(said.prose, said.words), pieces(said.words)
    return tuple((_WORDING / math.sqrt(len(sort)), sort) for sort in sorts if sort)


def excerpt(text: str, most: int) -> str:
    """The beginning, a piece of the middle and the end of what is too long to be read."""
    if len(text) <= most:
        return text
    part, middle = most * 2 // 5, len(text) // 2
    return f"{text[:part]}\n{text[middle : middle + most // 5]}\n{text[-part:]}"


def _strength(count: float) -> float:
    return min(1.0, count / _FULL)
