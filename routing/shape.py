"""The looks of a text: code, errors, names of files, formulas and sums, by simple signs. Pure."""

import re
from collections.abc import Iterator

# `*+` and `++` never give back, and so cannot try every way to part a long line of blanks
_FENCE = re.compile(r"^[^\S\n]*+(?:```|~~~)", re.MULTILINE)
_KEYWORDS = (
    "def|class|import|from|const|let|var|function|fn|func|public|private|protected|static|return|if|elif|else|for|while|"
    "switch|case|try|catch|except|package|using|namespace|struct|enum|impl|pub|async|await|export|interface|type|SELECT|INSERT|"
    "UPDATE|DELETE|CREATE|ALTER|FROM|WHERE|#include|#define|@\\w+|sudo|docker|git|pip|npm|RUN|COPY"
)
_CODE_LINE = re.compile(
    rf"^[ \t]*+(?:(?:{_KEYWORDS})\b[^\n]*[(){{}}\[\];:=<>'\"/.]"  # begins as code does, and has a sign of it
    r"|[^\n]*[{};][ \t]*(?://[^\n]*|/\*[^\n]*\*/)?"  # ends as code does
    r"|(?:return\b[^\n]*|[\w.]++\([^\n]*\))"  # gives back, or calls
    r"|</?\w++[^\n]*>"  # a tag
    r"|[\w.\]\[]++ ?(?:=|:=|\+=|->|=>) ?[^\n]+"  # sets something
    r"|(?://|/\*|\*/|#!)[^\n]*"  # a comment
    r"|\$ [^\n]+"  # a command
    r"|[+-]{1,3} ?[\w@(][^\n]*[({;:=][^\n]*)$",  # a difference
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
_FILES_END = (
    "py pyi js jsx ts tsx mjs vue svelte go rs java kt swift c cc cpp h hpp cs php rb ex lua css scss html htm "
    "yaml yml json toml ini sql sh ps1 tf md ipynb gradle xml proto graphql ino dart r env lock cfg csv vb pl"
)
_ENDINGS = frozenset(_FILES_END.split())
_AROUND = "`'\"()[]{}<>,;:!?*."
_IDENTIFIER = re.compile(
    r"[a-z][a-z0-9]*_[a-z0-9_]+|[a-z]+[A-Z]\w*|[A-Z](?=\w*[a-z][A-Z])\w*|[\w.]+\(.*|--?[a-z][a-z-]+.*|\w+\.\w+\.\w+.*"
)
_INLINE = re.compile(r"`[^`\n]{1,80}`")
_LIKE_PLAIN_WORDS = (  # but for their capitals
    "Go Rust Swift Dart Ruby Java Python Node React Vue Angular Express Flask Spring Unity Godot Hugo Pages "
    "Sheets Access Word Excel Scratch Blender Julia Crystal Elm Nim Zig Bash Git Make Rails Django Laravel "
    "Flutter Kotlin Scala Perl Lua Haskell Notion Zapier Tasker Shortcuts Terraform Ansible Puppet Chef Salt Helm "
    "Prisma Drizzle Vite Astro Svelte"
)
_TOOL_NAMES = frozenset(_LIKE_PLAIN_WORDS.split())
_CAPITALISED = re.compile(r"\b[A-Z]\w+")
_SENTENCE_ENDS = (". ", "! ", "? ")
_LETTERS = re.compile(r"\bR\b(?= (?:I|how|want|with|code|script|data|plot))|\b[iI]n (?:C|R|Go|D|J)\b")
_SYMBOLS = r"[fg]\([xn]\)|[∫∑√≤≥$^²³]"
_FORMULA = re.compile(_SYMBOLS)
_FORMULA_WITH_NUMBERS = re.compile(rf"[xyn] ?[=<>+*/^-] ?\d|\d[xyn]\b|{_SYMBOLS}")
_SUM = re.compile(r"\d ?[+*/x×÷%−-] ?\d|\d ?%")
_NUMBER = re.compile(r"\d+")
_ADDRESSES = "http://", "https://", "www."


def shape(text: str) -> dict[str, float]:
    """How often each sign occurs; what is there or not counts as three times."""
    code_lines = lines_of_code(text)
    tokens = [token for token in map(_bare, text.split()) if not _is_plain(token)]
    files = {token for token in tokens if _is_path(token)}
    numbers = len(_NUMBER.findall(text))
    return {
        "a code block": 3.0 * bool(_FENCE.search(text)),
        "lines of code": code_lines if code_lines > 1 else code_lines / 2,
        "mostly code": 3.0 * _are_most(code_lines, text),
        "an error or a stack trace": sum(map(text.count, _TRACES)),
        "names of files": len(files),
        "several files": max(0, len(files) - 1),
        "identifiers": sum(1 for token in tokens if _IDENTIFIER.fullmatch(token)),
        "quoted code": len(_INLINE.findall(text)),
        "a tool by its name": sum(1 for _ in _named_tools(text)) + len(_LETTERS.findall(text)),
        "formulas": len((_FORMULA_WITH_NUMBERS if numbers else _FORMULA).findall(text)),
        "sums": len(_SUM.findall(text)) if numbers else 0,
        "numbers": numbers / 2,
        "an address": 3.0 * any(map(text.__contains__, _ADDRESSES)),
        "a question": 3.0 * ("?" in text or "？" in text),
    }


def _named_tools(text: str) -> Iterator[str]:
    """Where a capital is no mere beginning of a sentence."""
    for match in _CAPITALISED.finditer(text):
        at = match.start()
        if match[0] in _TOOL_NAMES and at and not text.startswith(_SENTENCE_ENDS, at - 2):
            yield match[0]


def is_mostly_code(text: str) -> bool:
    return _are_most(lines_of_code(text), text)


def _are_most(code_lines: int, text: str) -> bool:
    return code_lines > 2 and code_lines / (text.count("\n") + 1) > 0.5


def lines_of_code(text: str) -> int:
    return len(_CODE_LINE.findall(text))


def _bare(token: str) -> str:
    return token.strip(_AROUND)


def _is_plain(token: str) -> bool:
    """A word as people write it, which is no identifier and no path."""
    return token.isalpha() and (token.islower() or token.istitle())


def _is_path(token: str) -> bool:
    name, dot, ending = token.rpartition(".")
    has_ending = bool(dot and name) and ending.lower() in _ENDINGS
    return has_ending or (token.count("/") > 1 and "/" in token[:-1] and "//" not in token)
