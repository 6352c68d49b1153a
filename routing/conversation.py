"""A request as the router sees it: who said what, with which tools, whatever the endpoint. Pure.

Read from bodies of `/v1/chat/completions`, `/v1/completions`, `/v1/responses` and `/v1/messages`. What is no valid
request is read as far as it can be, and is the engine's to refuse.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

# compared, not looked up: a client may send what cannot be hashed
_TEXTS = ("text", "input_text", "output_text")
_IMAGES = ("image_url", "image", "input_image", "image_embeds", "image_pil")
_CALLS = ("tool_use", "function_call")
_INSTRUCTIONS = ("system", "developer")
_LONGEST_NAME = 128
"""Of a tool, in characters: twice what OpenAI allows. Names are searched for what a tool does."""


@dataclass(frozen=True)
class Turn:
    """What one side said: `user`, `assistant`, or `tool` for what a tool gave back; `calls`: tools it then used."""

    role: str
    text: str
    calls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """`tools`: the names of those offered. `fills_in`: a text is wanted between two others, as editors ask for."""

    turns: tuple[Turn, ...]
    system: str = ""
    tools: tuple[str, ...] = ()
    has_image: bool = False
    fills_in: bool = False

    @property
    def asked(self) -> list[str]:
        """What the user said, first to last."""
        return [turn.text for turn in self.turns if turn.role == "user" and turn.text]

    @property
    def asked_last(self) -> str:
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")

    def as_it_stood(self, most: int) -> list["Conversation"]:
        """At each of the user's last turns, first to last: with what was answered until then, and only that turn."""
        asked = [at for at, turn in enumerate(self.turns) if turn.role == "user" and turn.text][-most:]
        ends = [*(at + 1 for at in asked[:-1]), len(self.turns)]
        stood = [replace(self, turns=self._but(at, end)) for at, end in zip(asked, ends, strict=False)]
        return stood or [self]

    def _but(self, own: int, end: int) -> tuple[Turn, ...]:
        """Without the user's other turns."""
        return tuple(turn for at, turn in enumerate(self.turns[:end]) if turn.role != "user" or at == own)

    @property
    def asked_before(self) -> list[str]:
        """The same as it stood when this conversation was answered last."""
        answers = [at for at, turn in enumerate(self.turns) if turn.role == "assistant"]
        return [turn.text for turn in self.turns[: answers[-1] if answers else 0] if turn.role == "user" and turn.text]


def read(body: dict[str, Any]) -> Conversation:
    """Of any endpoint that generates."""
    items = [item for item in _items(body) if isinstance(item, dict)]
    said = [item for item in items if item.get("role") not in _INSTRUCTIONS]
    instructions = [*_instructions(body), *(_text(item) for item in items if item.get("role") in _INSTRUCTIONS)]
    return Conversation(
        turns=tuple(_turn(item) for item in said),
        system="\n".join(text for text in instructions if text),
        tools=tuple(_tool_names(body)),
        has_image=any(map(_shows_image, items)),
        fills_in=isinstance(body.get("suffix"), str) and bool(body["suffix"]),
    )


def _items(body: dict[str, Any]) -> list[Any]:
    """Messages, whatever the endpoint calls them."""
    for value in (body.get("messages"), body.get("input")):
        if isinstance(value, list):
            return value
    text = body.get("input", _prompt(body.get("prompt")))
    return [{"role": "user", "content": text}]


def _prompt(value: Any) -> str:
    """Of several prompts the first speaks for all; one of bare tokens says nothing that could be read."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, str) else ""


def _instructions(body: dict[str, Any]) -> Iterator[str]:
    for name in ("system", "instructions"):
        yield _content_text(body.get(name))


def _turn(item: dict[str, Any]) -> Turn:
    """An item without a role is one of a Responses request: a call of a tool, or what that gave back."""
    role = item.get("role")
    calls = tuple(_calls(item))
    if role in ("tool", "function") or item.get("type") == "function_call_output" or _is_result(item):
        return Turn("tool", _text(item), calls)
    if role == "assistant" or calls:
        return Turn("assistant", _text(item), calls)
    return Turn("user", _text(item))


def _text(item: dict[str, Any]) -> str:
    return _content_text(item.get("content", item.get("output")))


def _content_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = [part.get("text") for part in _parts(content) if part.get("type") in _TEXTS]
    return "\n".join(text for text in texts if isinstance(text, str))


def _parts(content: Any) -> list[dict[str, Any]]:
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _is_result(item: dict[str, Any]) -> bool:
    """Anthropic's tools answer in the user's name; what the user adds to that comes after."""
    parts = _parts(item.get("content"))
    return bool(parts) and all(part.get("type") == "tool_result" for part in parts)


def _shows_image(item: dict[str, Any]) -> bool:
    """Said, given back by a tool, or an item by itself."""
    return _holds_image(item.get("content")) or _holds_image(item.get("output")) or _holds_image(item)


def _holds_image(content: Any) -> bool:
    if isinstance(content, dict):
        return content.get("type") in _IMAGES
    parts = _parts(content)
    return any(part.get("type") in _IMAGES or _in_result(part) for part in parts)


def _in_result(part: dict[str, Any]) -> bool:
    return part.get("type") == "tool_result" and any(p.get("type") in _IMAGES for p in _parts(part.get("content")))


def _calls(item: dict[str, Any]) -> Iterator[str]:
    calls = item.get("tool_calls")
    for call in [item, *_parts(item.get("content")), *(calls if isinstance(calls, list) else [])]:
        if isinstance(call, dict) and (call.get("type") in _CALLS or "function" in call):
            yield _name(call)


def _tool_names(body: dict[str, Any]) -> Iterator[str]:
    for key in ("tools", "functions"):
        tools = body.get(key)
        for tool in tools if isinstance(tools, list) else []:
            if isinstance(tool, dict):
                yield _name(tool)


def _name(tool: dict[str, Any]) -> str:
    """OpenAI's chat nests it; everybody else does not. A tool the engine brings along has only a type."""
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else tool.get("name", tool.get("type"))
    return name[:_LONGEST_NAME] if isinstance(name, str) else ""
