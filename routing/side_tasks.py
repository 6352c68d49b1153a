"""Which requests a chat UI makes on its own: a chat's title, its tags, follow-up questions, search queries. Pure.

Two shapes are known. Open WebUI's prompts all begin with `### Task:` and are not streamed, or quote the chat. Other UIs
say, in their instructions or in the last message, what they want (a title, a query, an emoji), of what (this
conversation), and that nothing else may come.
"""

import re
from typing import Any

from routing.conversation import Conversation

MARK = "### Task:"
_QUOTES = ("<chat_history>", "<text>", "<type>")
_WITH_CONTEXT = "<context>"
"""Open WebUI gives a person's question with documents the same heading."""
_READ = 600, 200
"""Characters of the beginning and the end of a text that may say what is wanted."""

_WHAT = re.compile(
    r"\b(?:title|topic|tags?|search quer(?:y|ies)|standalone quer(?:y|ies)|standalone search|follow-?up questions|emoji|titre|intitul[ée]|"
    r"requête|t[ií]tulo|consulta|titel|überschrift|suchanfrage)\b|标题|標題|表情|搜索词|查询词|标签",
    re.IGNORECASE,
)
_OF = re.compile(
    r"\b(?:conversation|exchange|chat(?: history)?|dialogue|the message|this message|speaker|last message|conversación|gespräch|"
    r"unterhaltung|chatverlauf|échange|discussion|la personne qui parle)\b|对话|對話|聊天|会话|會話",
    re.IGNORECASE,
)
_ONLY = re.compile(
    r"\b(?:only|alone|no quot|no explanation|no other text|nothing else|json|or less|words or|at most|in \d+ words|\d-\d words|\d-\d word|"
    r"uniquement|seulement|sans guillemets|maximum|sin comillas|s[oó]lo|solamente|m[aá]ximo|nur|ohne anführungszeichen|höchstens|maximal)"
    r"|只输出|只返回|只回答|不超过|不要标点|不要引号|只輸出|不超過",
    re.IGNORECASE,
)


def is_side_task(body: dict[str, Any], conversation: Conversation) -> bool:
    """Whether nobody reads along as this is answered: chat UIs chat. A request with tools is somebody's, whatever it
    says."""
    if not conversation.turns or conversation.turns[-1].role != "user" or conversation.tools:
        return False
    if not isinstance(body.get("messages"), list):
        return False
    streamed = bool(body.get("stream"))
    last = conversation.turns[-1].text
    if last.lstrip().startswith(MARK):
        return _is_open_webuis(last, streamed)
    quotes_a_chat = len(conversation.turns) > 1 or "\n" in last.strip()
    return _is_wanted(conversation.system) or (quotes_a_chat and not streamed and _is_wanted(last))


def _is_open_webuis(text: str, streamed: bool) -> bool:
    return any(quote in text for quote in _QUOTES) or not (streamed or _WITH_CONTEXT in text)


def _is_wanted(text: str) -> bool:
    begin, end = _READ
    said = text if len(text) <= begin + end else f"{text[:begin]} {text[-end:]}"
    return all(words.search(said) for words in (_WHAT, _OF, _ONLY))
