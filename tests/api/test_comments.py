"""What a waiting stream says, and how often."""

import pytest

from api.comments import AT_LEAST_EVERY_S, AT_MOST_EVERY_S, Comments
from familyai.line import Place


def said(comments: Comments, position: int, eta_s: float | None, now_s: float) -> str | None:
    comment = comments.due(Place(position, eta_s), now_s)
    return comment.decode() if comment is not None else None


def test_the_first_is_said_at_once() -> None:
    assert said(Comments(), 2, 3.2, 0.0) == ": queued position=2 eta_s=4\n"


def test_what_nobody_knows_is_left_out() -> None:
    assert said(Comments(), 2, None, 0.0) == ": queued position=2\n"


@pytest.mark.parametrize(
    ("position", "eta_s"),
    [(1, 100.0), (3, 100.0), (2, 79.0), (2, 121.0), (2, None)],
)
def test_news_is_said(position: int, eta_s: float | None) -> None:
    comments = Comments()
    said(comments, 2, 100.0, 0.0)
    assert said(comments, position, eta_s, AT_MOST_EVERY_S) is not None


@pytest.mark.parametrize("eta_s", [100.0, 81.0, 119.0])
def test_no_news_is_not_said_until_the_stream_would_look_dead(eta_s: float) -> None:
    comments = Comments()
    said(comments, 2, 100.0, 0.0)
    assert said(comments, 2, eta_s, AT_LEAST_EVERY_S - 0.01) is None
    assert said(comments, 2, eta_s, AT_LEAST_EVERY_S) is not None


def test_not_even_news_is_said_all_the_time() -> None:
    comments = Comments()
    said(comments, 9, None, 0.0)
    assert [said(comments, 8 - number, None, number * 0.3) is None for number in range(5)] == [
        True,
        True,
        True,
        True,
        False,
    ]


def test_a_short_wait_is_counted_in_seconds() -> None:
    comments = Comments()
    said(comments, 1, 2.0, 0.0)
    assert said(comments, 1, 1.5, 1.0) is None
    assert said(comments, 1, 1.0, 1.0) == ": queued position=1 eta_s=1\n"


def test_knowing_at_last_is_news() -> None:
    comments = Comments()
    said(comments, 1, None, 0.0)
    assert said(comments, 1, None, 1.0) is None
    assert said(comments, 1, 7.0, 1.0) == ": queued position=1 eta_s=7\n"
