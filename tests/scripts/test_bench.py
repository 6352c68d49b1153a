"""The bench's judgement: which answers it accepts, and what it makes of what it measured."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.benchmark.figures import Load, Run, latest_s, percentile, tokens_each, total
from scripts.benchmark.questions import Question, WrongAnswer, check_whole, events, http_request, word_times

QUESTION = Question("q1", tokens=9, stream=True)


def event(content: str | None, **more: object) -> bytes:
    delta = {} if content is None else {"content": content}
    return b"data: " + orjson.dumps({"choices": [{"delta": delta, **more}]}) + b"\n\n"


def stream(question: Question) -> list[bytes]:
    words = [f"{word} " for word in question.answer.split()]
    return [*map(event, words), event(None, finish_reason="length"), b"data: [DONE]\n\n"]


def timed(pieces: list[bytes]) -> list[tuple[float, bytes]]:
    return [(float(index), piece) for index, piece in enumerate(pieces)]


def test_every_word_of_a_right_answer_has_the_time_at_which_it_came() -> None:
    assert word_times(QUESTION, timed(stream(QUESTION))) == [float(index) for index in range(9)]


@given(cuts=st.lists(st.integers(0, 2000), max_size=40))
def test_events_are_the_same_however_the_stream_was_cut(cuts: list[int]) -> None:
    data = b"".join(stream(QUESTION))
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    pieces = [data[begin:end] for begin, end in pairwise(edges)]
    found = events(timed(pieces))
    assert [event.data for event in found] == [event.data for event in events([(0.0, data)])]
    assert [event.at_s for event in found] == sorted(event.at_s for event in found)


def test_an_event_has_come_when_its_last_byte_has() -> None:
    data = event("one")
    assert [event.at_s for event in events([(1.0, data[:-1]), (2.0, data[-1:])])] == [2.0]


def test_comments_and_ids_between_events_are_nothing_to_complain_about() -> None:
    pieces = stream(QUESTION)
    pieces.insert(3, b": queued position=1\n")
    pieces[5] = b"id: 5\n" + pieces[5]
    assert len(word_times(QUESTION, timed(pieces))) == 9


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda pieces: pieces[:-1], "without \\[DONE\\]"),
        (lambda pieces: [], "without \\[DONE\\]"),
        (lambda pieces: pieces[:4] + pieces[5:], "not the answer"),
        (lambda pieces: [*pieces[:4], pieces[4], *pieces[4:]], "not the answer"),
        (lambda pieces: [pieces[1], pieces[0], *pieces[2:]], "not the answer"),
        (lambda pieces: stream(Question("q2", tokens=9, stream=True)), "not the answer"),
        (lambda pieces: stream(Question("q1", tokens=8, stream=True)), "not the answer"),
        (lambda pieces: [*pieces[:3], b'data: {"error":{"message":"lost"}}\n\n', *pieces[3:]], "not an event"),
        (lambda pieces: [*pieces, b"data: more"], "middle of an event"),
    ],
)
def test_an_answer_with_a_fault_is_refused(spoil, complaint: str) -> None:
    with pytest.raises(WrongAnswer, match=complaint):
        word_times(QUESTION, timed(spoil(stream(QUESTION))))


def test_two_words_in_one_event_are_one_event_too_few() -> None:
    first, second, *rest = stream(QUESTION)
    both = event("q1-0 q1-1 ")
    assert both not in (first, second)
    with pytest.raises(WrongAnswer, match="8 words came, 9 were due"):
        word_times(QUESTION, timed([both, *rest]))


def test_a_whole_answer_is_compared_word_for_word() -> None:
    def body(text: str) -> bytes:
        return orjson.dumps({"choices": [{"message": {"content": text}}]})

    check_whole(QUESTION, body(QUESTION.answer))
    for wrong in (body(QUESTION.answer[:-1]), body("x" + QUESTION.answer), b"{}", b"not JSON", body("")):
        with pytest.raises(WrongAnswer):
            check_whole(QUESTION, wrong)


def test_no_two_streams_share_a_word() -> None:
    one, other = Question("r0s1", 40, True), Question("r0s11", 40, True)
    assert not set(one.answer.split()) & set(other.answer.split())


def test_the_request_announces_the_length_of_its_body() -> None:
    head, body = http_request(QUESTION, port=1, api_key="key").split(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.split(b"\r\n")
    assert orjson.loads(body)["max_tokens"] == 9


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values) - 1e-9
    assert sum(value < found for value in values) < percent / 100 * len(values) + 1e-9


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_lateness_counts_from_the_first_word() -> None:
    assert latest_s([5.0, 5.1, 5.2], tokens_per_s=10) == pytest.approx(0)
    assert latest_s([5.0, 5.1, 5.5, 5.6], tokens_per_s=10) == pytest.approx(0.3)


def test_runs_of_one_load_add_up() -> None:
    load = Load(streams=2, tokens=10, tokens_per_s=20)
    one = Run(load, seconds=1, tokens=20, first_word_s=[0.1, 0.2], late_s=[0.0, 0.2], cpu_s={"front": 0.5})
    added = total([one, one])
    assert added.tokens_per_s == 20
    assert added.keeping_pace == 0.5
    assert added.cpu_s_per_1000_tokens() == {"front": 25.0}
    assert one.tokens == 20


@pytest.mark.parametrize(("streams", "each"), [(1, 10_000), (16, 2500), (256, 156), (512, 78), (2000, 40)])
def test_few_streams_write_more_words_each(streams: int, each: int) -> None:
    assert tokens_each(streams, 40_000) == each
