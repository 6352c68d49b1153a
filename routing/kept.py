"""What is kept of a request so that its route can be judged later: what the router reads of it, and no more. Pure.

Asked again with what is kept, the router decides the same. Texts stay as they are, as long as all of it fits into
`MOST_BYTES`; of longer ones the beginning, a piece of the middle and the end are left. Of tools only the names stay,
and in place of images, clips and files the smallest image there is.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from routing.conversation import read
from routing.features import excerpt

MOST_BYTES = 64_000
"""Of a request as JSON. Code of 8,000 tokens fits into it, so that what is longer is still seen to be."""
PIXEL_DATA = "iVBORw0KGgo="
PIXEL = f"data:image/png;base64,{PIXEL_DATA}"

_TEXTS = ("messages", "input", "prompt", "system", "instructions", "suffix", "documents")
_PLAIN = ("reasoning_effort", "stream", "temperature", "max_tokens", "max_completion_tokens")
_WISHES = {
    "reasoning": "effort",
    "output_config": "effort",
    "thinking": "type",
    "chat_template_kwargs": "enable_thinking",
}
"""Parameters of which one part is read."""
_MEDIA = frozenset(
    {"image_url", "image_embeds", "image_pil", "video_url", "input_audio", "audio_url", "file_data", "source"}
)
_SOURCE = {"type": "base64", "media_type": "image/png", "data": PIXEL_DATA}
_SOURCES = ("base64", "url", "file")
_DATA_URL = "data:"
_MOST_TOOLS, _LONGEST_NAME = 200, 64
_CUTS = ((32_000, None), (16_000, None), (8_000, None), (4_000, 400), (2_000, 200), (1_000, 60), (500, 20))
"""Characters of each text, and turns after the first two, that are left; tried in this order."""


def kept(body: dict[str, Any]) -> dict[str, Any] | None:
    """None for what no cut makes small enough: thousands of parts in one message, names without end; and for what is
    nested deeper than can be written."""
    chosen = _chosen(body)
    try:
        return next((made for made in _cuts(chosen) if len(orjson.dumps(made)) <= MOST_BYTES), None)
    except orjson.JSONEncodeError:
        return None


def _chosen(body: dict[str, Any]) -> dict[str, Any]:
    """The parameters that count, without media."""
    made = {name: _without_media(body[name]) for name in _TEXTS if name in body}
    made |= {name: body[name] for name in _PLAIN if isinstance(body.get(name), str | bool | int | float)}
    for name, part in _WISHES.items():
        value = body.get(name)
        if isinstance(value, dict) and isinstance(value.get(part), str | bool):
            made[name] = {part: value[part]}
    if names := read(body).tools[:_MOST_TOOLS]:
        made["tools"] = [{"type": "function", "function": {"name": name[:_LONGEST_NAME]}} for name in names]
    return made


def _cuts(chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The whole, then less and less of it."""
    yield chosen
    for longest, turns in _CUTS:
        yield {name: _shortened(_last(value, turns), longest) for name, value in chosen.items()}


def _last(value: Any, turns: int | None) -> Any:
    """The first two of a list, which are instructions and the first question, and the last ones."""
    if turns is None or not isinstance(value, list) or len(value) <= turns + 2:
        return value
    return [*value[:2], *value[-turns:]]


def _without_media(value: Any) -> Any:
    if isinstance(value, str):
        return PIXEL if value[: len(_DATA_URL)].lower() == _DATA_URL else value
    if isinstance(value, list):
        return [_without_media(child) for child in value]
    if isinstance(value, dict):
        return {key: _in_place_of(key, child) for key, child in value.items()}
    return value


def _in_place_of(key: str, child: Any) -> Any:
    """`source` may hold a text, too."""
    if key == "source" and isinstance(child, dict):
        return _SOURCE if child.get("type") in _SOURCES else _without_media(child)
    if key not in _MEDIA or not child:
        return _without_media(child)
    return PIXEL if isinstance(child, str) else {"url": PIXEL}


def _shortened(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return excerpt(value, longest)
    if isinstance(value, list):
        return [_shortened(child, longest) for child in value]
    if isinstance(value, dict):
        return {key: _shortened(child, longest) for key, child in value.items()}
    return value
