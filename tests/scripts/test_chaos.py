"""What the chaos makes of what its clients saw: good answers, errors that say so, and faults."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.chaos.events import Event, EventReader
from scripts.chaos.plan import Kind, kills
from scripts.chaos.questions import LINES, Curiosity, Question, Sort
from scripts.chaos.tally import Tally
from scripts.chaos.transcript import Ended, Transcript
from scripts.chaos.verdicts import Fault, Verdict, judge, judge_lines

WORDS = 5
QUESTION = Question(Sort.CHAT, "q", "chat-fast", words=WORDS)
WHOLE = replace(QUESTION, sort=Sort.WHOLE)
REAL = replace(QUESTION, sort=Sort.REAL_CHAT)
RESPONSES = replace(QUESTION, sort=Sort.REAL_RESPONSES)
SPEECH = replace(QUESTION, sort=Sort.SPEECH)
TARGETS = {Kind.WORKER: ["worker a", "worker b"], Kind.FRONT: ["front 1", "front 2"], Kind.BROKER: ["broker"]}
QUEUES = {sort: ["chat-fast"] for sort in Sort}

DONE = b"[DONE]"
ERROR = orjson.dumps({"error": {"message": "gone", "code": "worker_lost"}})
STREAM = [*[orjson.dumps({"choices": [{"delta": {"content": word}}]}) for word in QUESTION.answer], DONE]


def transcript(
    events: Sequence[bytes] = (), ended: Ended = Ended.IN_ORDER, question: Question = QUESTION, **fields: Any
) -> Transcript:
    """With ids that count from one, but for errors, which have none."""
    numbered = [Event(float(n), None if data == ERROR else n, data) for n, data in enumerate(events, start=1)]
    return Transcript(question, 0.0, ended, events=numbered, **fields)


def faults(*told: Any, **fields: Any) -> set[Fault]:
    return set(judge(transcript(*told, **fields)).faults)


def test_a_whole_answer_is_good() -> None:
    assert judge(transcript(STREAM)) == Verdict()
    assert judge(transcript(STREAM, Ended.CUT)) == Verdict(), "all of it was there before the connection broke"


def test_an_answer_may_end_with_an_error_that_says_so() -> None:
    assert judge(transcript([*STREAM[:3], ERROR])) == Verdict(error="worker_lost")
    assert judge(transcript(STREAM[:3], Ended.CUT, code="connection cut")) == Verdict(error="connection cut")
    assert judge(transcript((), Ended.REFUSED, status=503, code="no_worker")) == Verdict(error="no_worker")
    assert judge(transcript(STREAM[:3], Ended.LEFT)) == Verdict(error="client left")


def test_what_neither_ends_nor_fails_is_lost() -> None:
    assert faults((), Ended.WAITING) == {Fault.LOST}
    assert faults(STREAM[:3], Ended.WAITING) == {Fault.LOST}
    assert faults((), Ended.WAITING, question=WHOLE) == {Fault.LOST}


@pytest.mark.parametrize("code", ["job_not_found", "answer_not_kept"])
def test_an_answer_to_which_nobody_leads_back_is_lost(code: str) -> None:
    assert faults(STREAM[:3], Ended.REFUSED, status=404, code=code) == {Fault.LOST}


def test_a_stream_that_ends_as_if_it_were_over_is_truncated() -> None:
    assert faults(STREAM[:3]) == {Fault.TRUNCATED}
    assert faults([]) == {Fault.TRUNCATED}
    assert faults([*STREAM[:3], DONE]) == {Fault.TRUNCATED, Fault.FALSE_DONE}


def test_a_word_that_comes_twice_is_a_duplicate() -> None:
    assert faults([*STREAM[:3], *STREAM[2:]]) == {Fault.DUPLICATED, Fault.FALSE_DONE}
    assert faults([*STREAM[:3], STREAM[2], ERROR]) == {Fault.DUPLICATED}
    assert faults([*STREAM, DONE]) == {Fault.DUPLICATED, Fault.CHANGED}


def test_an_event_that_comes_twice_is_a_duplicate() -> None:
    twice = transcript(STREAM)
    twice.events.insert(3, twice.events[2])
    assert Fault.DUPLICATED in judge(twice).faults


def test_words_that_are_missing_or_anothers_are_a_change() -> None:
    assert faults([*STREAM[:2], *STREAM[3:]]) == {Fault.CHANGED, Fault.FALSE_DONE}
    other = orjson.dumps({"choices": [{"delta": {"content": "somebody-else's "}}]})
    assert faults([*STREAM[:2], other, ERROR]) == {Fault.CHANGED}
    assert faults([*STREAM[:3], ERROR, STREAM[3]]) == {Fault.CHANGED}
    assert faults(STREAM, is_torn=True) == {Fault.CHANGED}


def test_ids_that_skip_one_are_a_change() -> None:
    skipped = transcript(STREAM)
    skipped.events = [event._replace(number=2 * (event.number or 0)) for event in skipped.events]
    assert judge(skipped).faults == {Fault.CHANGED}


def test_events_without_an_id_are_a_change_for_nobody_could_come_back_to_them() -> None:
    nameless = transcript(STREAM)
    nameless.events = [event._replace(number=None) for event in nameless.events]
    assert judge(nameless).faults == {Fault.CHANGED}


def test_a_whole_answer_is_compared_in_one_piece() -> None:
    def body(text: str, tokens: int = WORDS) -> bytes:
        return orjson.dumps({"choices": [{"message": {"content": text}}], "usage": {"completion_tokens": tokens}})

    text = "".join(QUESTION.answer)
    assert faults(question=WHOLE, body=body(text)) == set()
    assert faults(question=WHOLE, body=body(text[:-4])) == {Fault.TRUNCATED, Fault.FALSE_DONE}
    assert faults(question=WHOLE, body=body(text + text)) == {Fault.FALSE_DONE}
    assert faults(question=WHOLE, body=body(text, 1)) == {Fault.CHANGED}
    assert faults(question=WHOLE, body=b"{") == {Fault.CHANGED}


def chunk(content: str | None = None, *, reason: str | None = None, tokens: int = 0, **more: Any) -> bytes:
    choice = {"delta": {"content": content}, "finish_reason": reason, "token_ids": list(range(tokens))}
    return orjson.dumps({"id": "c", "created": 1, "model": "m", "choices": [choice]} | more)


def real_stream(used: int) -> list[bytes]:
    role = chunk(choices=[{"delta": {"role": "assistant", "content": ""}}])
    usage = chunk(choices=[], usage={"completion_tokens": used})
    return [role, chunk("a", tokens=1), chunk("b", tokens=2, reason="length"), usage, DONE]


def test_an_answer_that_nobody_knows_has_a_form() -> None:
    good = real_stream(3)
    assert faults(good, question=REAL) == set()
    assert faults(real_stream(4), question=REAL) == {Fault.CHANGED}, "tokens that did not come"
    assert faults([good[0], *good], question=REAL) == {Fault.CHANGED}, "two beginnings"
    assert faults([*good[:2], *good[3:]], question=REAL) == {Fault.CHANGED}, "no reason why it stopped"
    assert faults([good[0].replace(b'"c"', b'"d"'), *good[1:]], question=REAL) == {Fault.CHANGED}, "two answers"


def test_the_responses_api_says_by_a_type_that_it_is_over() -> None:
    def event(number: int, kind: str, **more: Any) -> bytes:
        return orjson.dumps({"type": kind, "sequence_number": number} | more)

    text = event(1, "response.output_text.delta", delta="a")
    good = [event(0, "response.created"), text, event(2, "response.completed")]
    assert faults(good, question=RESPONSES) == set()
    assert faults(good[:2], question=RESPONSES) == {Fault.TRUNCATED}
    assert faults([*good[:2], text, good[2]], question=RESPONSES) == {Fault.CHANGED}
    failed = judge(transcript([*good[:2], event(2, "error", code="worker_lost")], question=RESPONSES))
    assert failed == Verdict(error="worker_lost")


def wav(said_bytes: int, sent_bytes: int) -> bytes:
    return b"RIFF" + said_bytes.to_bytes(4, "little") + b"WAVE" + bytes(sent_bytes - 4)


def test_speech_is_as_long_as_its_header_says() -> None:
    enough = 400_000
    assert faults(question=SPEECH, body=wav(enough, enough)) == set()
    assert faults(question=SPEECH, body=wav(0xFFFFFFFF, enough)) == set(), "it lasts until its end"
    assert faults(question=SPEECH, body=wav(enough, enough - 2)) == {Fault.TRUNCATED}
    assert faults(question=SPEECH, body=wav(0xFFFFFFFF, 1000)) == {Fault.TRUNCATED}
    assert faults(question=SPEECH, body=b"noise") == {Fault.CHANGED}


def line(name: str, text: str | None = None, status: int = 200) -> dict[str, Any]:
    body = {"choices": [{"message": {"content": text or name}}]}
    return {"custom_id": name, "response": {"status_code": status, "body": body}}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (["a", "b"], set()),
        (["a"], {Fault.LOST}),
        (["a", "b", "b"], {Fault.DUPLICATED}),
        (["a", "b", "c"], {Fault.CHANGED}),
    ],
)
def test_each_line_of_a_batch_is_answered_once(told: list[str], found: set[Fault]) -> None:
    assert judge_lines({"a": {}, "b": {}}, [line(name) for name in told]).faults == found


def test_lines_of_a_batch_are_answered_rightly_or_with_an_error() -> None:
    assert judge_lines({"a": {}}, [line("a", "b")]).faults == {Fault.FALSE_DONE}
    assert judge_lines({"a": {}}, [line("a", status=503)]) == Verdict(error="lines: 503", words="1 lines")


EVENTS = (
    b": queued position=2\n\nid: 1\ndata: one\n\n: still here\nid: 2\nevent: x\ndata: two\n\ndata: [DONE]\n\nid: 4\nda"
)


@given(st.lists(st.integers(0, len(EVENTS))))
def test_events_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    reader, places = EventReader(), sorted({0, *cuts, len(EVENTS)})
    pieces = [EVENTS[a:b] for a, b in pairwise(places)]
    found = [event for piece in pieces for event in reader.feed(piece, 1.0)]
    assert found == [Event(1.0, 1, b"one"), Event(1.0, 2, b"two"), Event(1.0, None, DONE)]
    assert reader.is_torn


def test_a_stream_that_ends_with_a_comment_is_not_torn() -> None:
    reader = EventReader()
    assert reader.feed(b": still here\n", 0.0) == []
    assert not reader.is_torn


def test_the_seed_fixes_what_is_killed_and_what_is_asked() -> None:
    assert kills(7, 100, 6.0, TARGETS) == kills(7, 100, 6.0, TARGETS) != kills(8, 100, 6.0, TARGETS)
    asked = [[Curiosity(seed, 3, QUEUES, True).next() for _ in range(2)] for seed in (7, 7, 8)]
    assert asked[0] == asked[1] != asked[2]


@pytest.mark.parametrize("count", [10, 100])
def test_every_kind_of_process_is_killed(count: int) -> None:
    planned = kills(1, count, 6.0, TARGETS)
    found = {kind: sum(kill.kind is kind for kill in planned) for kind in Kind}
    assert found == {Kind.WORKER: count // 2, Kind.FRONT: count * 3 // 10, Kind.BROKER: count // 5}
    assert all(sorted(kill.targets) == TARGETS[kill.kind] for kill in planned)


def test_nobody_is_spared() -> None:
    assert {kill.targets[0] for kill in kills(1, 100, 6.0, TARGETS)} == {
        name for names in TARGETS.values() for name in names
    }


def test_clients_ask_for_everything_and_no_two_for_the_same() -> None:
    clients = [Curiosity(1, number, QUEUES, True) for number in range(16)]
    asked = [client.next() for client in clients for _ in range(20)]
    assert {question.sort for question in asked} == set(Sort)
    assert len({question.name for question in asked}) == len(asked)
    assert all(len(set(question.answer)) == question.words for question in asked)
    streams = [question for question in asked if question.sort is Sort.CHAT]
    assert {question.detach for question in streams} == {True, False}
    assert len(asked[0].lines()) == LINES


def test_nothing_is_detached_where_it_is_not_wanted() -> None:
    client = Curiosity(1, 0, QUEUES, detach=False)
    assert not any(client.next().detach for _ in range(50))


def test_the_longest_gap_is_found_and_hanging_up_makes_none() -> None:
    times = accumulate([1.0, 0.5, 3.0, 9.0, 0.5])
    made = transcript(STREAM[:5])
    made.events = [event._replace(at_s=at_s) for event, at_s in zip(made.events, times, strict=True)]
    assert made.longest_gap() == (4.5, 13.5)
    made.left_after = 3
    assert made.longest_gap() == (1.5, 4.5)
    assert transcript(STREAM[:1]).longest_gap() == (0.0, 0.0)


def test_the_tally_counts_answers_errors_and_faults_apart() -> None:
    tally = Tally(begun_s=0.0)
    for events, ended in ((STREAM, Ended.IN_ORDER), ([ERROR], Ended.IN_ORDER), (STREAM[:2], Ended.WAITING)):
        made = transcript(events, ended, job_id="job-1")
        tally.add(made, judge(made))
    assert (tally.requests[Sort.CHAT], tally.good[Sort.CHAT]) == (3, 1)
    assert dict(tally.errors) == {"worker_lost": 1}
    assert dict(tally.faults) == {Fault.LOST: 1}
    assert tally.jobs == {"job-1"}
    assert tally.longest_gaps[Sort.CHAT].seconds == 1.0
    assert "q, chat stream: lost" in tally.told[0]
