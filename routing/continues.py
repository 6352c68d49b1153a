"""Whether an answer that broke off can go on at the token where it stopped: what its request must not ask. Pure.

An engine goes on from the tokens that it is given. What it keeps beside them is lost with its worker: how often a word
has come, where in a grammar it stands, how likely each token was, and which of several answers a token is of.
"""

from typing import Any

from familyai.catalogue import Engine

_ENGINES = (Engine.ECHO, Engine.VLLM)
_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")
_PENALTIES = {"presence_penalty": 0, "frequency_penalty": 0}
_GRAMMARS = ("structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "output_config")
_MEMORIES = ("bad_words", "repetition_detection")
_PROBABILITIES = ("logprobs", "top_logprobs", "prompt_logprobs")
_CHOSEN_FREELY = (None, "auto", "none")


def continues(path: str, body: dict[str, Any], width: int, engine: Engine) -> bool:
    """`width`: of how many answers, to all prompts."""
    is_stream = engine in _ENGINES and path in _PATHS and body.get("stream") is True
    return is_stream and width == 1 and not (_is_bound(body) or _remembers(body) or _tells_probabilities(body))


def _is_bound(body: dict[str, Any]) -> bool:
    """To a grammar."""
    is_formatted = any(map(_is_format, (body.get("response_format"), _format_of_responses(body))))
    is_called = (
        _is_forced(body.get("tool_choice")) or body.get("parallel_tool_calls") is False or _has_strict_tool(body)
    )
    return is_formatted or is_called or any(body.get(name) is not None for name in _GRAMMARS)


def _format_of_responses(body: dict[str, Any]) -> Any:
    text = body.get("text")
    return text.get("format") if isinstance(text, dict) else None


def _is_format(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") != "text"


def _is_forced(choice: Any) -> bool:
    """To call a tool; Anthropic's API says it by an object."""
    return (choice.get("type") if isinstance(choice, dict) else choice) not in _CHOSEN_FREELY


def _has_strict_tool(body: dict[str, Any]) -> bool:
    """Or one that the engine calls by itself, and then asks the model again."""
    tools = body.get("tools")
    return any(not _is_plain(tool) for tool in tools) if isinstance(tools, list) else tools is not None


def _is_plain(tool: Any) -> bool:
    """A function of the client's, or one of Anthropic's, which have no type."""
    if not isinstance(tool, dict) or tool.get("type", "function") not in ("function", "custom"):
        return False
    function = tool.get("function")
    return not (tool.get("strict") or (isinstance(function, dict) and function.get("strict")))


def _remembers(body: dict[str, Any]) -> bool:
    is_counted = any(body.get(name) not in (None, usual) for name, usual in _PENALTIES.items())
    return is_counted or any(body.get(name) for name in _MEMORIES) or body.get("seed") is not None


def _tells_probabilities(body: dict[str, Any]) -> bool:
    """0 asks for that of the chosen token."""
    return any(body.get(name) is not None and body[name] is not False for name in _PROBABILITIES)
