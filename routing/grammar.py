"""Nothing in a request may keep an engine busy with its form: schemas and patterns are compiled before the first token,
in the one process that also generates for everybody else.

Only sizes are judged; what a schema says, the engine reads and refuses itself.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from familyai.errors import BadRequest

LONGEST_PATTERN = 1_000
"""Characters of a regular expression or a grammar."""
LARGEST_SCHEMA_BYTES = 64_000
"""Of a schema, written as JSON."""

_PATTERNS = (
    "structured_outputs.regex",
    "structured_outputs.grammar",
    "structured_outputs.whitespace_pattern",
    "guided_regex",
    "guided_grammar",
)
_SCHEMAS = (
    "response_format.json_schema.schema",
    "response_format.structures",
    "response_format.format",
    "text.format.schema",
    "output_config.format.schema",
    "structured_outputs.json",
    "structured_outputs.choice",
    "structured_outputs.structural_tag",
    "guided_json",
)
_TOOL_SCHEMAS = ("function.parameters", "parameters", "input_schema")


def check_grammar(body: dict[str, Any]) -> None:
    """Raises BadRequest that names the schema or pattern which is too large."""
    for path in _PATTERNS:
        pattern = _at(body, path)
        if isinstance(pattern, str) and len(pattern) > LONGEST_PATTERN:
            raise _too_large(path, f"{LONGEST_PATTERN} characters")
    for path, schema in _schemas(body):
        if _size_bytes(schema) > LARGEST_SCHEMA_BYTES:
            raise _too_large(path, f"{LARGEST_SCHEMA_BYTES // 1000} kB")


def _schemas(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for path in _SCHEMAS:
        yield path, _at(body, path)
    tools = body.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else []):
        for path in _TOOL_SCHEMAS:
            yield f"tools[{index}].{path}", _at(tool, path)


def _at(value: Any, path: str) -> Any:
    """What stands there, None if nothing does."""
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _size_bytes(schema: Any) -> float:
    try:
        return 0 if schema is None else len(orjson.dumps(schema))
    except orjson.JSONEncodeError:  # deeper than any engine reads
        return float("inf")


def _too_large(path: str, limit: str) -> BadRequest:
    return BadRequest(f"`{path}` is over {limit}: it would hold up everybody's answers", param=path, code="too_complex")
