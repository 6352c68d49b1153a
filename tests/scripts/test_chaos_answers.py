"""How the chaos's clients ask: at an open door, and on from where they were cut. The fronts follow a script."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import httpx
import orjson
import pytest

from scripts.chaos import answers, doors
from scripts.chaos.answers import ask, read_again
from scripts.chaos.doors import Doors
from scripts.chaos.questions import Question, Sort
from scripts.chaos.transcript import Ended, Transcript
from scripts.chaos.verdicts import Verdict, judge

QUESTION = Question(Sort.CHAT, "q", "chat-fast", words=4, detach=True)
EVENTS = [orjson.dumps({"choices": [{"delta": {"content": word}}]}) for word in QUESTION.answer] + [b"[DONE]"]
URLS = ["http://front-1", "http://front-2"]
JOB = {"x-familyai-job-id": "job-1"}

Script = Callable[[httpx.Request], httpx.Response]


class Pieces(httpx.AsyncByteStream):
    """A body that comes in pieces, and breaks after them if it is to."""

    def __init__(self, pieces: list[bytes], breaks: bool) -> None:
        self._pieces, self._breaks = pieces, breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._breaks:
            yield b"id: 9\ndata: ha"
            raise httpx.ReadError("reset")


def streamed(first: int, last: int, breaks: bool = False) -> httpx.Response:
    """These events, counted from one."""
    pieces = [b"id: %d\ndata: %s\n\n" % (number, EVENTS[number - 1]) for number in range(first, last + 1)]
    return httpx.Response(200, headers=JOB, stream=Pieces(pieces, breaks))


def refused(code: str, status: int = 503) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code}})


class Fronts:
    """Answers a client's requests one after the other, looks after its health aside, and remembers them."""

    def __init__(self, *script: httpx.Response | Exception, closed: str = "") -> None:
        self._script, self._closed = list(script), closed
        self.heard: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == self._closed:
            raise httpx.ConnectError("refused")
        if request.url.path == "/health":
            return httpx.Response(200)
        self.heard.append(request)
        answer = self._script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def resumed_after(self) -> list[str]:
        return [request.headers["last-event-id"] for request in self.heard if request.method == "GET"]


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (answers, doors):
        monkeypatch.setattr(module, "RETRY_S", 0)
    monkeypatch.setattr(answers, "PAUSE_S", 0)


def doors_of(fronts: Script) -> Doors:
    http = httpx.AsyncClient(transport=httpx.MockTransport(fronts), trust_env=False)
    return Doors(http, URLS, "key", random.Random(1))  # noqa: S311 (no secret)


async def asked(fronts: Fronts, question: Question = QUESTION) -> Transcript:
    transcript = Transcript(question, 0.0)
    await ask(doors_of(fronts), question, transcript)
    return transcript


async def test_who_is_cut_off_comes_back_for_the_rest_at_the_other_front() -> None:
    fronts = Fronts(streamed(1, 2, breaks=True), streamed(3, 3, breaks=True), streamed(4, 5))
    transcript = await asked(fronts)

    assert judge(transcript) == Verdict()
    assert fronts.resumed_after == ["2", "3"]
    assert fronts.heard[0].headers["x-familyai-detach"] == "true"
    assert [request.url.path for request in fronts.heard[1:]] == ["/v1/jobs/job-1/events"] * 2
    hosts = [request.url.host for request in fronts.heard]
    assert hosts[0] != hosts[1] != hosts[2]


async def test_who_hangs_up_comes_back_too() -> None:
    fronts = Fronts(streamed(1, 5), streamed(3, 5))
    transcript = await asked(fronts, replace(QUESTION, leaves_after=2))

    assert judge(transcript) == Verdict()
    assert (transcript.left_after, fronts.resumed_after) == (2, ["2"])


@pytest.mark.parametrize("code", ["broker_down", "stopping"])
async def test_a_front_that_cannot_tell_is_asked_again(code: str) -> None:
    fronts = Fronts(streamed(1, 2, breaks=True), refused(code), httpx.ConnectError("refused"), streamed(3, 5))

    assert judge(await asked(fronts)) == Verdict()
    assert fronts.resumed_after == ["2", "2", "2"]


async def test_what_the_job_itself_ended_with_is_its_end() -> None:
    fronts = Fronts(streamed(1, 2, breaks=True), refused("no_worker"))
    assert judge(await asked(fronts)) == Verdict(error="no_worker")


async def test_who_is_told_an_error_does_not_come_back_for_it() -> None:
    error = b'data: {"error": {"code": "worker_lost"}}\n\n'
    fronts = Fronts(httpx.Response(200, headers=JOB, stream=Pieces([error], breaks=True)))
    assert judge(await asked(fronts)) == Verdict(error="worker_lost")
    assert len(fronts.heard) == 1


async def test_who_is_not_detached_stays_away() -> None:
    fronts = Fronts(streamed(1, 2, breaks=True))
    transcript = await asked(fronts, replace(QUESTION, detach=False))

    assert (transcript.ended, transcript.code) == (Ended.CUT, "connection cut")
    assert "x-familyai-detach" not in fronts.heard[0].headers


async def test_a_question_goes_to_a_front_that_is_there() -> None:
    for closed in ("front-1", "front-2"):
        fronts = Fronts(streamed(1, 5), closed=closed)
        assert judge(await asked(fronts)) == Verdict()
        assert fronts.heard[0].url.host != closed


async def test_an_answer_is_read_once_more_from_its_beginning() -> None:
    first = Transcript(QUESTION, 0.0, job_id="job-1")
    fronts = Fronts(streamed(1, 3, breaks=True), streamed(4, 5))
    again = Transcript(QUESTION, 0.0)
    await read_again(doors_of(fronts), again, first)

    assert judge(again) == Verdict()
    assert fronts.resumed_after == ["0", "3"]
