"""Lines of a batch: split whatever the pieces, and refused by name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.errors import BadRequest
from routing.lines import Line, LineSplitter, read_line, window_s

CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "auto"}}


def lines_of(data: bytes, piece: int, longest: int = 100) -> list[tuple[int, bytes]]:
    splitter = LineSplitter(longest)
    found = [line for start in range(0, len(data), piece) for line in splitter.feed(data[start : start + piece])]
    return found + list(splitter.finish())


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b""))), st.integers(1, 30))
def test_lines_are_the_same_in_any_pieces(lines: list[bytes], piece: int) -> None:
    whole = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if whole and whole[0][0] == 1:
        whole[0] = (1, whole[0][1].removeprefix(b"\xef\xbb\xbf"))
    whole = [(number, line) for number, line in whole if line.strip()]
    assert lines_of(b"\n".join(lines), piece) == whole
    assert lines_of(b"\n".join(lines) + b"\n", piece) == whole


def test_blank_lines_count_but_are_no_requests() -> None:
    assert lines_of(b"\xef\xbb\xbfa\r\n\n \nb", 3) == [(1, b"a\r"), (4, b"b")]
    assert lines_of(b"", 3) == []


def test_a_long_line_is_cut_and_the_next_is_whole() -> None:
    assert lines_of(b"x" * 1000 + b"\nb\n" + b"y" * 10, 7, longest=10) == [(1, b"x" * 11), (2, b"b"), (3, b"y" * 10)]


def test_a_good_line() -> None:
    assert read_line(GOOD | {"more": 1}, CHAT) == Line("a", {"model": "auto"})


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"custom_id": None}, "custom_id", "missing_required_parameter"),
        ({"body": None}, "body", "missing_required_parameter"),
        ({"custom_id": 7}, "custom_id", "invalid_value"),
        ({"custom_id": ""}, "custom_id", "invalid_value"),
        ({"custom_id": "x" * 513}, "custom_id", "invalid_value"),
        ({"method": "GET"}, "method", "invalid_value"),
        ({"url": "/v1/embeddings"}, "url", "url_mismatch"),
        ({"body": "text"}, "body", "invalid_value"),
    ],
)
def test_a_bad_line(change: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_line(GOOD | change, CHAT)
    assert (refused.value.param, refused.value.code) == (param, code)


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86400), ("1m", 60), ("30d", 2592000), ("720h", 2592000)])
def test_windows(text: str, seconds: int) -> None:
    assert window_s(text) == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "0h", "31d", "721h", "-1h", "1.5h", "24h ", "1w", "9999999m", "٣h"])
def test_odd_windows(text: str) -> None:
    with pytest.raises(BadRequest):
        window_s(text)
