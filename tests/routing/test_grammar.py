from typing import Any

import orjson
import pytest

from familyai.errors import BadRequest
from routing.grammar import LARGEST_SCHEMA_BYTES, LONGEST_PATTERN, check_grammar


def schema(size_bytes: int) -> dict[str, Any]:
    empty = len(orjson.dumps({"description": ""}))
    return {"description": "x" * (size_bytes - empty)}


def at(path: str, value: Any) -> dict[str, Any]:
    """A body that holds the value at a path such as `tools[0].function.parameters`."""
    for key in reversed(path.replace("[0]", ".0").split(".")):
        value = [value] if key == "0" else {key: value}
    body: dict[str, Any] = value
    return body


@pytest.mark.parametrize(
    "path",
    [
        "structured_outputs.regex",
        "structured_outputs.grammar",
        "structured_outputs.whitespace_pattern",
        "guided_regex",
        "guided_grammar",
    ],
)
def test_patterns_have_a_length(path: str) -> None:
    check_grammar(at(path, "x" * LONGEST_PATTERN))
    with pytest.raises(BadRequest) as caught:
        check_grammar(at(path, "x" * (LONGEST_PATTERN + 1)))

    assert (caught.value.param, caught.value.code) == (path, "too_complex")


@pytest.mark.parametrize(
    "path",
    [
        "response_format.json_schema.schema",
        "response_format.structures",
        "response_format.format",
        "text.format.schema",
        "output_config.format.schema",
        "structured_outputs.json",
        "structured_outputs.choice",
        "structured_outputs.structural_tag",
        "guided_json",
        "tools[0].function.parameters",
        "tools[0].parameters",
        "tools[0].input_schema",
    ],
)
def test_schemas_have_a_size(path: str) -> None:
    check_grammar(at(path, schema(LARGEST_SCHEMA_BYTES)))
    as_text = orjson.dumps(schema(LARGEST_SCHEMA_BYTES)).decode()
    for large in (schema(LARGEST_SCHEMA_BYTES + 1), as_text):
        with pytest.raises(BadRequest) as caught:
            check_grammar(at(path, large))
        assert (caught.value.param, caught.value.code) == (path, "too_complex")


def test_a_schema_deeper_than_can_be_written_is_too_large() -> None:
    deep: Any = {}
    for _ in range(1000):
        deep = {"items": deep}
    with pytest.raises(BadRequest, match="guided_json"):
        check_grammar({"guided_json": deep})


def test_the_tool_at_fault_is_named() -> None:
    small = {"function": {"parameters": schema(100)}}
    with pytest.raises(BadRequest) as caught:
        check_grammar({"tools": [small, {"function": {"parameters": schema(LARGEST_SCHEMA_BYTES + 1)}}]})

    assert caught.value.param == "tools[1].function.parameters"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": None, "response_format": None, "text": "x", "structured_outputs": []},
        {"tools": [None, "x", {"function": None}, {"function": {"parameters": 7}}]},
        {"tools": [{"function": {"parameters": schema(60_000)}}] * 4},
        {"guided_regex": ["x"] * 2000, "messages": [{"content": "x" * 100_000}]},
    ],
)
def test_anything_else_is_the_engines_to_read(body: dict[str, Any]) -> None:
    check_grammar(body)
