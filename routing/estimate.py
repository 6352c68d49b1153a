"""How much a request will take, judged before it runs: what its job is charged with, and what it reserves. Pure.

What is no valid request (a number where a text should be, a prompt nested without end) is counted as far as it can be,
and is the engine's to refuse. Guesses are settled against the truth when the job ends.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from familyai.catalogue import Model, Task
from routing.tokens import most_tokens_of, tokens_of

IMAGE_TOKENS = 1_000
"""About a megapixel of Qwen2-VL's: one token for 28 x 28 pixels. How long the URL is says nothing."""
VIDEO_TOKENS = 8_000
AUDIO_TOKENS = 500
"""Of a clip in a conversation: 20 s at the 25 tokens per second of Qwen2-Audio."""
AUDIO_BYTES_PER_S = 16_000
"""128 kbit/s, at which phones and players record by default. 16-bit WAV of speech takes twice that, Opus an eighth."""

_TEXTS = ("messages", "system", "prompt", "suffix", "input", "instructions", "documents")
_SCHEMAS = ("tools", "functions", "response_format", "text", "output_config", "structured_outputs", "guided_json")
_MEDIA = {
    "image_url": IMAGE_TOKENS,
    "image_embeds": IMAGE_TOKENS,
    "video_url": VIDEO_TOKENS,
    "input_audio": AUDIO_TOKENS,
    "audio_url": AUDIO_TOKENS,
    "file_data": IMAGE_TOKENS,
}
_MEDIA_KEYS = frozenset({*_MEDIA, "source"})
_SOURCES = ("base64", "url", "file")
_LONGEST = {
    "messages": ("max_completion_tokens", "max_tokens"),
    "prompt": ("max_tokens",),
    "input": ("max_output_tokens",),
}
"""How the length of an answer is limited, by what the endpoint calls its prompt."""


@dataclass(frozen=True)
class Estimate:
    """Input and output in the model's units (tokens, seconds, characters), their cost, and tokens for token limits."""

    input: int
    output: int
    cost: float
    tokens: int


def estimate(body: dict[str, Any], task: Task, model: Model, width: int, *, generates: bool = True) -> Estimate:
    """Of a JSON request. `generates` is False where only tokens are counted.

    Each prompt counts once: `n` answers share it. An answer counts as the length that is usual for the model, or as the
    longest that was asked for where that is shorter.
    """
    if task is Task.SPEAK:
        text = body.get("input")
        return _priced(len(text) if isinstance(text, str) else 0, 0, model, in_tokens=False)
    output = width * _answer_tokens(body, model) if generates and task is Task.GENERATE else 0
    return _priced(prompt_tokens(body), output, model)


def estimate_audio(size_bytes: int, model: Model) -> Estimate:
    """Of a recording to be heard, in seconds."""
    return _priced(-(-size_bytes // AUDIO_BYTES_PER_S), 0, model, in_tokens=False)


def whole(value: Any) -> int | None:
    """What an engine would read as the number, or None: a limit that it refuses, or there is none."""
    try:
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number >= 0 else None


def _priced(units: int, output: int, model: Model, *, in_tokens: bool = True) -> Estimate:
    cost = model.costs.input * units + model.costs.output * output
    return Estimate(units, output, max(1.0, cost), units + output if in_tokens else 0)


def _answer_tokens(body: dict[str, Any], model: Model) -> int:
    """A limit counts only under the name that this endpoint reads: another would make a long answer look short."""
    shapes = [names for prompt, names in _LONGEST.items() if prompt in body]
    names = shapes[0] if len(shapes) == 1 else ()
    asked = [number for name in names if (number := whole(body.get(name))) is not None]
    return min(max(asked, default=model.answer_tokens), model.answer_tokens)


def prompt_tokens(body: dict[str, Any]) -> int:
    """All that its model will read, tools and schemas too."""
    return text_tokens(body) + schema_tokens(body)


def schema_tokens(body: dict[str, Any]) -> int:
    """Of tools and of what an answer must look like."""
    return sum(_schema_tokens(body[name]) for name in _SCHEMAS if name in body)


def text_tokens(body: dict[str, Any], exact_from: int = 0) -> int:
    """Of what was said: a conversation, its instructions and its images.

    `exact_from`: what surely takes fewer is not counted; then this is how many it takes at most, which is told sooner.
    """
    found = [_walked(body[name]) for name in _TEXTS if name in body]
    at_most = sum(others + most_tokens_of(text) for others, text in found)
    return at_most if at_most < exact_from else sum(others + tokens_of(text) for others, text in found)


def _schema_tokens(value: Any) -> int:
    """Names in it are prompt too, so it is measured as it is written."""
    try:
        return 0 if value is None else tokens_of(orjson.dumps(value).decode())
    except orjson.JSONEncodeError:  # deeper than any engine reads
        others, text = _walked(value)
        return others + tokens_of(text)


def _walked(value: Any) -> tuple[int, str]:
    """How many tokens there are besides texts (tokens by their number, media by their kind), and all texts at once.

    Without recursion: a client decides how deep its body is, and of how many texts.
    """
    total, texts, pending = 0, list[str](), [value]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            total += len(value) if _are_tokens(value) else 0
            pending.extend(() if _are_tokens(value) else value)
        elif isinstance(value, dict):
            media = {key: tokens for key in value.keys() & _MEDIA_KEYS if (tokens := _media_tokens(key, value[key]))}
            total += sum(media.values())
            pending.extend(child for key, child in value.items() if key not in media)
    return total, " ".join(texts)


def _are_tokens(value: list[Any]) -> bool:
    """As engines tell: by the first; the others are then numbers too, or refused."""
    return bool(value) and isinstance(value[0], int)


def _media_tokens(key: str, child: Any) -> int:
    """0 for what is no image, clip or file; `source` is Anthropic's word for where one comes from."""
    if key == "source":
        return IMAGE_TOKENS if isinstance(child, dict) and child.get("type") in _SOURCES else 0
    return _MEDIA.get(key, 0) if child else 0
