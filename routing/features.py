"""What can be seen in a conversation: named signals and how strong each is, for the linear model to weigh. Pure.

What was said last counts whole, what was said before half as much for each turn that lies between. Of long texts the
beginning, a piece of the middle and the end are read, so that time and memory do not grow with a pasted file.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from routing.conversation import Conversation, Turn
from routing.words import load, plain, stems, words_of

Features = dict[str, float]

WORD = "word: "
"""Before what is no signal by name, but a word that training saw."""
DECAY = 0.5
"""Of a turn's say, for each turn of the same side after it."""
TURNS = 4
"""So many of each side's last turns are looked at, and the first of all."""
_READ = {"last": 2_400, "earlier": 800, "assistant": 800, "system": 1_500}
"""Characters of a turn that are read."""
_FULL = 3.0
"""So many occurrences say as much as can be said."""

AGENT_TOOLS_USED = "used tools of a coding agent"
THOUGHT_WISHED = "wishes for thought"

_LEXICON = load()

_FENCE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)
_CODE_LINE = re.compile(
    r"^[ \t]*(?:(?:def|class|import|from|const|let|var|function|fn|func|public|private|protected|static|return|if|elif|else|for|while|"
    r"switch|case|try|catch|except|package|using|namespace|struct|enum|impl|pub|async|await|export|interface|type|SELECT|INSERT|UPDATE|"
    r"DELETE|CREATE|ALTER|FROM|WHERE|#include|#define|@\w+|sudo|docker|git|pip|npm|RUN|COPY)\b[^\n]*[(){}\[\];:=<>'\"/.]"
    r"|[^\n]*[{};]|</?\w+[^\n]*>|[\w.\]\[]+ ?(?:=|:=|\+=|->|=>) ?[^\n]+|[ \t]*(?://|/\*|\*/|#!)[^\n]*|\$ [^\n]+|[+-]{1,3} ?[\w@(][^\n]*[({;:=][^\n]*)$",
    re.MULTILINE,
)
_TRACES = (
    "Traceback (",
    "Error:",
    "Exception",
    "error:",
    "error[",
    "Error\n",
    "\n    at ",
    "npm ERR!",
    "panicked at",
    "Segmentation fault",
    "undefined reference",
    '", line ',
    "exit code",
    "exit status",
)
_ENDINGS = frozenset(
    ["py", "pyi", "js", "jsx", "ts", "tsx", "mjs", "vue", "svelte", "go", "rs", "java", "kt", "swift", "c", "cc", "cpp", "h", "hpp", "cs", "php", "rb", "ex", "lua", "css", "scss", "html", "htm", "yaml", "yml", "json", "toml", "ini", "sql", "sh", "ps1", "tf", "md", "ipynb", "gradle", "xml", "proto", "graphql", "ino", "dart", "r", "env", "lock", "cfg", "csv", "vb", "pl"]
)
_AROUND = "`'\"()[]{}<>,;:!?*."
_IDENTIFIER = re.compile(
    r"[a-z][a-z0-9]*_[a-z0-9_]+|[a-z]+[A-Z]\w*|[A-Z]\w*[a-z][A-Z]\w*|[\w.]+\(.*|--?[a-z][a-z-]+.*|\w+\.\w+\.\w+.*"
)
_INLINE = re.compile(r"`[^`\n]{1,80}`")
_MATHS = re.compile(r"[xyn] ?[=<>+*/^-] ?\d|\d[xyn]\b|[fg]\([xn]\)|[∫∑√≤≥$^²³]")
_SUM = re.compile(r"\d ?[+*/x×÷%−-] ?\d|\d ?%")
_NUMBER = re.compile(r"\d+")
_URL = re.compile(r"https?://|www\.")
_SENTENCE = re.compile(r"[.!?;。！？；\n]+")
_AGENT_TOOL = re.compile(
    r"edit|write_?file|read_?file|file_|_file|patch|str_replace|bash|shell|terminal|command|exec|run_|_run|grep|glob|codebase|list_?dir|"
    r"browser|click|navigate|page|screenshot|playwright|git|commit|repo|diff|lint|test|notebook|task_?complete|attempt_completion|computer",
    re.IGNORECASE,
)


def features(conversation: Conversation) -> Features:
    """Every signal there is, with a value of up to about 1."""
    found: defaultdict[str, float] = defaultdict(float)
    for weight, turn, part in _read(conversation):
        for name, value in _of_turn(turn, part).items():
            found[name] += weight * value
    for name, value in _of_request(conversation).items():
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
    shape = {name: _strength(count) for name, count in _shape(text).items() if count}
    if part == "assistant":
        return {f"answered with {name}": value for name, value in shape.items()}
    prose = _prose(text)
    words = words_of(prose)
    concepts = {name: _strength(count) for name, count in _LEXICON.concepts(prose, words).items()}
    sizes = _sizes(prose, words) if part == "last" else {}
    return {**shape, **concepts, **sizes, **_stems(prose, words)}


def _of_request(conversation: Conversation) -> Features:
    """What is not said in any turn of the user's."""
    calls = [name for turn in conversation.turns for name in turn.calls]
    agent_tools = sum(1 for name in conversation.tools[:200] if _AGENT_TOOL.search(name))
    found = {
        "tools of a coding agent": min(1.0, agent_tools / 2),
        "tools of everyday use": float(bool(conversation.tools) and not agent_tools),
        AGENT_TOOLS_USED: float(any(_AGENT_TOOL.search(name) for name in calls[-20:])),
        "goes on with earlier turns": float(len(conversation.asked) > 1),
        "fills a gap in a text": float(conversation.fills_in),
    }
    return {name: value for name, value in found.items() if value} | _of_system(conversation.system)


def _of_system(system: str) -> Features:
    prose = plain(excerpt(system, _READ["system"]))
    concepts = _LEXICON.concepts(prose, words_of(prose))
    return {f"instructed: {name}": _strength(count) for name, count in concepts.items()}


def _shape(text: str) -> dict[str, float]:
    lines = text.count("\n") + 1
    code_lines = len(_CODE_LINE.findall(text))
    tokens = [token.strip(_AROUND) for token in text.split()]
    files = {token for token in tokens if _is_path(token)}
    return {
        "a code block": _FULL * bool(_FENCE.search(text)),
        "lines of code": code_lines if code_lines > 1 else code_lines / 2,
        "mostly code": _FULL * (code_lines / lines > 0.5 and code_lines > 2),
        "an error or a stack trace": sum(text.count(trace) for trace in _TRACES),
        "names of files": len(files),
        "several files": max(0, len(files) - 1),
        "identifiers": sum(1 for token in tokens if _IDENTIFIER.fullmatch(token)),
        "quoted code": len(_INLINE.findall(text)),
        "formulas": len(_MATHS.findall(text)),
        "sums": len(_SUM.findall(text)),
        "numbers": len(_NUMBER.findall(text)) / 2,
        "an address": _FULL * bool(_URL.search(text)),
        "asks": _FULL * ("?" in text or "？" in text),
    }


def _is_path(token: str) -> bool:
    name, dot, ending = token.rpartition(".")
    return (dot and name and ending.lower() in _ENDINGS) or (
        "/" in token[:-1] and token.count("/") > 1 and "//" not in token
    )


def _sizes(prose: str, words: list[str]) -> Features:
    """How long a question is, without its code; a Chinese character is about half a word."""
    count = len(words) + sum(1 for char in prose if char > "⺀") / 1.7
    sizes = {"very short": count <= 4, "short": 4 < count <= 12, "long": 45 < count <= 150, "very long": count > 150}
    return {name: 1.0 for name, is_it in sizes.items() if is_it} | {
        "words": min(1.0, math.log1p(count) / 6),
        "sentences": min(1.0, len(_SENTENCE.findall(prose)) / 8),
    }


def _stems(prose: str, words: list[str]) -> Features:
    found = Counter(stems(prose, words[:400]))
    scale = 1 / math.sqrt(max(1, len(found)))
    return {WORD + stem: scale for stem in found}


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
