"""Numbers of events, however the bytes come."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.numbered import Numbered

ENDS = st.sampled_from([b"\n", b"\r\n"])
LINES = st.binary(max_size=12).map(lambda data: data.replace(b"\r", b"r").replace(b"\n", b"n"))
COMMENTS = st.builds(lambda text, end: b":" + text + end, LINES, ENDS)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """One event, of one or more lines; comments may stand within it."""
    end = draw(ENDS)
    lines = [b"data:" + draw(LINES), *draw(st.lists(LINES.filter(bool), max_size=2))]
    return end.join(lines) + end + end


BLOCKS = st.lists(events() | COMMENTS, max_size=6)
HALVES = st.sampled_from([b"", b"d", b"data: 1", b"data: 1\n", b": hal"])


def fed(stream: Numbered, data: bytes, cuts: set[int]) -> bytes:
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return b"".join(stream.feed(data[a:b]) for a, b in pairwise(edges))


def numbered(data: bytes, after: int = 0) -> bytes:
    return Numbered(after).feed(data)


def expected(blocks: list[bytes]) -> list[bytes]:
    """Each block as it is due."""
    due, count = [], 0
    for block in blocks:
        count += not block.startswith(b":")
        due.append(block if block.startswith(b":") else b"id: %d\n" % count + block)
    return due


@given(BLOCKS, HALVES, st.sets(st.integers(1, 120)))
def test_every_event_has_its_number_however_the_bytes_are_cut(blocks: list[bytes], half: bytes, cuts: set[int]) -> None:
    due = expected([*blocks, half] if half else blocks)
    assert fed(Numbered(), b"".join([*blocks, half]), cuts) == b"".join(due)


@given(BLOCKS, HALVES, st.sets(st.integers(1, 120)))
def test_without_the_numbers_it_is_what_the_engine_said(blocks: list[bytes], half: bytes, cuts: set[int]) -> None:
    data = b"".join([*blocks, half])
    assert re.sub(rb"(?m)^id: \d+\n", b"", fed(Numbered(), data, cuts)) == data


@given(BLOCKS, HALVES, st.sets(st.integers(1, 120)), st.integers(0, 7))
def test_whoever_has_some_events_gets_what_follows_them(
    blocks: list[bytes], half: bytes, cuts: set[int], after: int
) -> None:
    data = b"".join([*blocks, half])
    due = expected([*blocks, half] if half else blocks)
    last = b"id: %d\n" % after
    having = next(
        (place + 1 for place, block in enumerate(due) if block.startswith(last)), 0 if not after else len(due)
    )
    assert fed(Numbered(after), data, cuts) == b"".join(due[having:])


@given(BLOCKS, HALVES, st.sets(st.integers(1, 120)), st.integers(0, 7))
def test_between_events_is_where_another_may_begin(
    blocks: list[bytes], half: bytes, cuts: set[int], after: int
) -> None:
    stream = Numbered(after)
    fed(stream, b"".join([*blocks, half]), cuts)
    count = sum(not block.startswith(b":") for block in blocks) + (half not in (b"", b": hal"))
    assert stream.count == count
    is_within = half and (count >= after if half == b": hal" else count > after)
    assert stream.at_boundary is not bool(is_within)


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\n\n\n"])
def test_a_blank_line_that_ends_no_event_is_left_out(blank: bytes) -> None:
    comment, event = b": keep-alive\n", b"data: 1\n\n"
    assert numbered(blank + comment + blank + event + blank + comment + blank + event) == (
        comment + b"id: 1\n" + event + comment + b"id: 2\n" + event
    )


@pytest.mark.parametrize(
    ("half", "closed"),
    [
        (b"", b""),
        (b"data: {", b"data: {\nid: 1\n\n"),
        (b"data: {\n", b"data: {\nid: 1\n\n"),
        (b"da", b"da\nid: 1\n\n"),
        (b": comm", b": comm\n"),
    ],
)
def test_an_event_that_broke_off_leaves_the_number_of_the_one_before(half: bytes, closed: bytes) -> None:
    stream = Numbered()
    given = stream.feed(b"data: 1\n\n" + half) + stream.close()
    assert given.removeprefix(b"id: 1\ndata: 1\n\n").removeprefix(b"id: 2\n") == closed
    assert stream.count == 1


def test_an_event_that_broke_off_and_was_not_to_be_seen_needs_no_end() -> None:
    stream = Numbered(after=2)
    assert stream.feed(b"data: 1\n\ndata: {") + stream.close() == b""
