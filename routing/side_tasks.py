"""Which requests a chat UI makes on its own: titles, tags, follow-up questions, search queries, summaries. Pure, but
for files read at import.

Open WebUI's prompts are known by their heading. All others are told by signs in the instructions and in the last
message (by-products of a chat, the chat itself, that nothing else may come, a transcript), which a logistic regression
weighs; `scripts/train_routing.py` trains it.
"""

import math
import re
from collections import Counter, defaultdict
from importlib.resources import files
from typing import Any

import orjson
import yaml

from routing.conversation import Conversation
from routing.words import HAN, plain, words_of

MARK = "### Task:"
_QUOTES = ("<chat_history>", "<text>", "<type>")
_WITH_CONTEXT = "<context>"
"""Open WebUI gives a person's question with documents the same heading."""
_CHATS = ("messages", "input")
"""Where a request has a conversation: chats, and responses."""
_LONGEST = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_READ = 500, 250
"""Characters of the beginning and the end of a text in which signs are looked for."""
_BEGINS = 220
_FULL = 3.0
_FEW_TOKENS = 400
_SURE = 0.5

_TAG = re.compile(
    r"<\w*(?:history|histories|conversation|chat|session|context|text|draft|query|exchange|messages|profile|question)\b[^>]*>"
)
_USER = re.compile(
    r"^[^\w\n]*+(?:user|human|usuari[oa]|nutzer|benutzer|mensch|utilisateur|you|用户)\W{0,3}[:：]", re.I | re.M
)
_ASSISTANT = re.compile(
    r"^[^\w\n]*+(?:assistant|ai|asistente|assistent|ki|claude|bot|model|助手)\W{0,3}[:：]", re.I | re.M
)
_SLOT = re.compile(r"[\w\u4e00-\u9fff ]{2,30}[:：>]\s*[\[{<\"]?\s*$")
_SLOT_ENDS = tuple(':：>[{<"')

Signs = dict[str, float]


def is_side_task(body: dict[str, Any], conversation: Conversation) -> bool:
    """Whether nobody reads along as this is answered."""
    if not conversation.turns or not any(isinstance(body.get(field), list) for field in _CHATS):
        return False
    turn = conversation.turns[-1]
    last = turn.text if turn.role == "user" else ""
    if last.lstrip().startswith(MARK):
        return _is_open_webuis(last, bool(body.get("stream")))
    return probability(signs(body, conversation, last)) > _SURE


def signs(body: dict[str, Any], conversation: Conversation, last: str) -> Signs:
    """`last`: what the user said last, if it is the last of all."""
    system, last = _ends(conversation.system), _ends(last)
    of_system, of_last = _of_text(system, "instructed"), _of_text(last, "asked")
    quoted = bool(_TAG.search(last) or (_USER.search(last) and _ASSISTANT.search(last)))
    longest = next((body[field] for field in _LONGEST if body.get(field)), None)
    about = {
        "a transcript": quoted,
        "a transcript for a by-product": quoted and bool(of_system.get("instructed all") or of_last.get("asked all")),
        "a slot to fill": last.rstrip().endswith(_SLOT_ENDS) and _SLOT.search(last[-60:]) is not None,
        "a question": last.rstrip().endswith(("?", "？")),
        "streamed": bool(body.get("stream")),
        "a short answer": isinstance(longest, int) and 0 < longest <= _FEW_TOKENS,
        "no temperature": body.get("temperature") == 0,
        "tools": bool(conversation.tools),
        "several turns": len(conversation.asked) > 1,
        "no instructions": not conversation.system,
    }
    return of_system | of_last | {name: 1.0 for name, is_it in about.items() if is_it}


def probability(seen: Signs) -> float:
    return 1 / (1 + math.exp(-_BIAS - sum(_WEIGHTS.get(name, 0.0) * value for name, value in seen.items())))


def _of_text(text: str, where: str) -> Signs:
    """How many words of each group stand in it."""
    counts = _counts(text)
    if len(text) > _BEGINS:
        counts[_OWN] = _counts(text[:_BEGINS])[_OWN]
    every = all(counts[group] for group in _ALL)
    return {f"{where} {group}": min(1.0, count / _FULL) for group, count in counts.items() if count} | (
        {f"{where} all": 1.0} if every else {}
    )


def _counts(text: str) -> Counter[str]:
    said = plain(text)
    groups = _GROUPS_OF
    chinese = (runs for runs in _CHINESE if runs in said) if HAN.search(said) else ()
    return Counter(group for word in (*(groups.keys() & words_of(said)), *chinese) for group in groups[word])


def _ends(text: str) -> str:
    begin, end = _READ
    return text if len(text) <= begin + end else f"{text[:begin]}\n{text[-end:]}"


def _is_open_webuis(text: str, streamed: bool) -> bool:
    return any(quote in text for quote in _QUOTES) or not (streamed or _WITH_CONTEXT in text)


def _load_groups() -> dict[str, list[str]]:
    """Of each word, and each run of Chinese, which groups it is of."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    texts = yaml.safe_load(files("routing").joinpath("data/side_tasks.yaml").read_text("utf-8"))
    for group, text in texts.items():
        for entry in {entry.strip() for entry in text.split(",")}:
            groups[entry].append(group)
    return dict(groups)


_GROUPS_OF = _load_groups()
_CHINESE = [entry for entry in _GROUPS_OF if not entry.isascii()]
_ALL = ("by-products", "the chat", "nothing else")
_OWN = "somebody's own"


def _load_weights() -> tuple[float, dict[str, float]]:
    document = orjson.loads(files("routing").joinpath("data/weights.json").read_bytes()).get("side_task", {})
    weights = {name: hundredths / 100 for name, hundredths in document.get("weights", {}).items()}
    return document.get("bias", -1000) / 100, weights


_BIAS, _WEIGHTS = _load_weights()
