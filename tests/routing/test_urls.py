import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.errors import BadRequest
from routing.urls import DEEPEST, MOST_CONTAINERS, check_urls, may_fetch

DATA = "data:image/png;base64,AAAA"
EVIL = "http://169.254.169.254/latest"


def chat(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (
            chat({"type": "text"}, {"type": "image_url", "image_url": {"url": EVIL}}),
            "messages[0].content[1].image_url.url",
        ),
        (chat({"image_url": EVIL}), "messages[0].content[0].image_url"),
        (chat({"type": "video_url", "video_url": {"url": EVIL}}), "messages[0].content[0].video_url.url"),
        (chat({"type": "audio_url", "audio_url": {"URL": EVIL}}), "messages[0].content[0].audio_url.URL"),
        (chat({"type": "image", "source": {"type": "url", "url": EVIL}}), "messages[0].content[0].source.url"),
        (
            chat({"type": "tool_result", "content": [{"type": "image", "source": {"url": EVIL}}]}),
            "messages[0].content[0].content[0].source.url",
        ),
        ({"input": [{"content": [{"type": "input_image", "image_url": EVIL}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"content": [{"type": "input_file", "file_url": EVIL}]}]}, "input[0].content[0].file_url"),
        (
            {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": EVIL}]}]},
            "input[0].output[0].image_url",
        ),
        ({"prompt": {"variables": {"picture": {"image_url": EVIL}}}}, "prompt.variables.picture.image_url"),
        ({"tools": [{"type": "mcp", "server_url": EVIL}]}, "tools[0].server_url"),
        ({"system": [{"type": "image", "source": {"url": EVIL}}]}, "system[0].source.url"),
        (chat({"type": "tool_use", "image_url": {"url": EVIL}}), "messages[0].content[0].image_url.url"),
        ({"type": "tool_use", "input": [{"content": [{"image_url": EVIL}]}]}, "input[0].content[0].image_url"),
        (
            chat({"type": "url_citation", "image_url": {"type": "tool_use", "url": EVIL}}),
            "messages[0].content[0].image_url.url",
        ),
    ],
)
def test_a_url_is_refused_by_its_path(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_urls(body, ())

    assert (caught.value.param, caught.value.code) == (param, "url_not_allowed")
    assert EVIL not in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        chat({"type": "image_url", "image_url": {"url": DATA}}, {"type": "text", "text": f"what is {EVIL}?"}),
        chat({"type": "image_url", "image_url": None, "uuid": "known"}),
        {"messages": [{"role": "user", "content": f"see {EVIL}"}]},
        {
            "tools": [
                {"function": {"parameters": {"properties": {"url": {"type": "string"}}, "examples": [{"url": EVIL}]}}}
            ]
        },
        {"tools": [{"name": "fetch", "input_schema": {"properties": {"url": {"default": EVIL}}, "$id": EVIL}}]},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": {"url": EVIL}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": f'{{"url": "{EVIL}"}}'}}]}]},
        {"input": [{"content": [{"type": "output_text", "annotations": [{"type": "url_citation", "url": EVIL}]}]}]},
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "text", "text": "so", "citations": [{"url": EVIL}]}]}
            ]
        },
        {"input": [{"type": "file_search_call", "results": [{"url": EVIL, "attributes": {"source_url": EVIL}}]}]},
        {"input": [{"type": "file", "attributes": {"url": EVIL}}], "vllm_xargs": {"callback_url": EVIL}},
        {"response_format": {"json_schema": {"schema": {"properties": {"url": {"const": EVIL}}}}}},
        {"text": {"format": {"type": "json_schema", "schema": {"examples": [{"url": EVIL}]}}}},
        {"input": EVIL, "prompt": [EVIL], "user": EVIL},
    ],
)
def test_text_schemas_and_arguments_may_speak_of_urls(body: dict[str, Any]) -> None:
    check_urls(body, ())


@pytest.mark.parametrize(
    "url",
    (
        f"{EVIL}|HTTP://a.example/x| http://a.example/x|//a.example/x|file:///etc/passwd|/etc/passwd|ftp://a/x||"
        "\tdata:image/png;base64,AA|da\nta:text/plain,x|blob:null/1|https:a.example|gopher://a"
    ).split("|"),
)
def test_without_an_allow_list_only_data_passes(url: str) -> None:
    assert not may_fetch(url, ())


@pytest.mark.parametrize("url", [DATA, "DATA:image/png;base64,AAAA", "data:,x"])
def test_data_always_passes(url: str) -> None:
    assert may_fetch(url, ())


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://pictures.example/a.png", True),
        ("http://pictures.example/a.png?size=[1]", True),
        ("HTTPS://Pictures.Example/a.png", True),
        ("https://pictures.example:443/a.png", True),
        ("https://pictures.example:6379/a.png", False),
        ("https://pictures.example:99999/a.png", False),
        ("https://pictures.example.evil.example/a.png", False),
        ("https://evil.example/pictures.example", False),
        ("https://pictures.example@evil.example/a.png", False),
        ("https://evil.example@pictures.example/a.png", False),
        ("https://evil.example\\@pictures.example/a.png", False),
        ("https://pictures.example\\.evil.example/a.png", False),
        ("https://evil.example#@pictures.example/", False),
        ("https://evil.example?@pictures.example/", False),
        ("https://pictures.example /a.png", False),
        ("https://pictures.example\n.evil.example/", False),
        ("https://pictures.example./a.png", False),
        ("https://[::1]/a.png", False),
        ("https://[pictures.example/a.png", False),
        ("ftp://pictures.example/a.png", False),
        ("//pictures.example/a.png", False),
        ("https://sub.pictures.example/a.png", False),
    ],
)
def test_the_allow_list_names_hosts_exactly(url: str, allowed: bool) -> None:
    assert may_fetch(url, ("Pictures.example",)) is allowed


@given(st.text())
def test_any_text_gets_a_verdict(url: str) -> None:
    assert may_fetch(url, ("a.example",)) in (True, False)


@given(
    st.lists(st.sampled_from(["content", "input", "source", "image_url", "x", 0, 1]), max_size=8),
    st.sampled_from(["url", "image_url", "file_url", "Video_URL"]),
)
def test_no_depth_hides_a_url(path: list[Any], key: str) -> None:
    value: Any = {key: EVIL}
    for step in path:
        value = {step: value} if isinstance(step, str) else [value] * (step + 1)

    with pytest.raises(BadRequest):
        check_urls({"messages": value}, ())


def nested(depth: int) -> dict[str, Any]:
    """A body of so many containers inside each other, itself included."""
    value: Any = 1
    for _ in range(depth - 1):
        value = [value]
    return {"x": value}


def test_what_cannot_be_written_is_not_walked() -> None:
    orjson.dumps(nested(DEEPEST))
    check_urls(nested(DEEPEST), ())
    with pytest.raises(BadRequest, match="too deep") as caught:
        check_urls(nested(DEEPEST + 1), ())

    assert caught.value.code == "invalid_json"


def test_a_body_of_too_many_parts_is_refused() -> None:
    check_urls({"x": [{}] * (MOST_CONTAINERS - 2)}, ())
    for part in ({}, [], [{}]):
        with pytest.raises(BadRequest) as caught:
            check_urls({"x": [part] * (MOST_CONTAINERS - 1)}, ())
        assert caught.value.code == "too_complex"


def test_numbers_are_no_parts_and_hide_nothing() -> None:
    tokens: list[Any] = [1] * (MOST_CONTAINERS + 1)
    check_urls({"input": tokens}, ())
    with pytest.raises(BadRequest) as caught:
        check_urls({"input": [*tokens, {"image_url": EVIL}]}, ())

    assert caught.value.param == f"input[{len(tokens)}].image_url"


def test_a_deep_and_wide_body_costs_no_more_than_its_parts() -> None:
    wide: Any = [[] for _ in range(MOST_CONTAINERS // 2)]
    for _ in range(DEEPEST - 3):
        wide = [wide]
    tracemalloc.start()
    check_urls({"x": wide}, ())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 400 * MOST_CONTAINERS // 2  # a path of its own for each part would take 2,000 bytes
