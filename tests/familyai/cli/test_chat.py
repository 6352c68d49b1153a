"""The conversation in the terminal, over OpenAI's client and a front that says what the test wants."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rich.console import Console

from familyai.cli import chat, console
from familyai.cli.api import ApiFailed, api_message
from familyai.settings import Settings

OK = [b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % word for word in (b"Pa", b"ris\\u001b[2J")]
ERROR = b'{"error":{"message":"there is no model","type":"invalid_request_error","param":"model","code":null}}'


class Front:
    """Answers each request with the next script: status and pieces of the body."""

    def __init__(self) -> None:
        self.scripts: list[tuple[int, list[bytes]]] = []
        self.requests: list[dict[str, Any]] = []
        self.types = {200: "text/event-stream"}
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                front.requests.append({"key": self.headers["authorization"], **json.loads(body)})
                status, pieces = front.scripts.pop(0)
                self.send_response(status)
                self.send_header("content-type", front.types.get(status, "application/json"))
                self.end_headers()
                self.wfile.write(b"".join(pieces))

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    made = Front()
    monkeypatch.setattr(chat, "load_settings", lambda: Settings(url=made.url, api_key="fai-k"))
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def answers(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """What the person types, and then leaves."""
    typed = iter(lines)

    def read(_: str) -> str:
        if (line := next(typed, None)) is None:
            raise EOFError
        return line

    monkeypatch.setattr("builtins.input", read)


def test_one_question_streams_its_answer(front: Front, capsys: pytest.CaptureFixture[str]) -> None:
    front.scripts = [(200, [*OK, b"data: [DONE]\n\n"])]
    assert chat.chat("The capital?", "auto", "Be brief.", 64) == 0
    assert capsys.readouterr().out == "Paris[2J\n"  # no answer steers the terminal
    (request,) = front.requests
    assert request["key"] == "Bearer fai-k"
    assert request["max_tokens"] == 64
    assert request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "The capital?"},
    ]


def test_numbers_and_comments_between_the_events_are_not_shown(
    front: Front, capsys: pytest.CaptureFixture[str]
) -> None:
    pieces = [
        b"id: 1\n",
        OK[0],
        b": still here\n",
        b": still here\n",
        b"id: 2\n",
        OK[1],
        b"id: 3\n",
        b"data: [DONE]\n\n",
    ]
    front.scripts = [(200, [b": queued position=1\n", b": started\n", *pieces])]
    assert chat.chat("The capital?", "auto", None, 64) == 0
    assert capsys.readouterr().out == "Paris[2J\n"


def test_a_cut_answer_says_so_beside_it(front: Front, capsys: pytest.CaptureFixture[str]) -> None:
    cut = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
    front.scripts = [(200, [*OK, cut, b"data: [DONE]\n\n"])]
    assert chat.chat("The capital?", "auto", None, 64) == 0
    shown = capsys.readouterr()
    assert shown.out == "Paris[2J\n"
    assert "--max-tokens 64" in shown.err


def test_the_apis_own_message_is_the_error(front: Front) -> None:
    front.scripts = [(404, [ERROR])]
    with pytest.raises(ApiFailed, match=r"^there is no model$"):
        chat.chat("Hello", "nope", None, 64)


def test_an_error_in_the_stream_is_one_too(front: Front, capsys: pytest.CaptureFixture[str]) -> None:
    front.scripts = [(200, [OK[0], b'data: {"error":{"message":"the worker died"}}\n\n'])]
    with pytest.raises(ApiFailed, match="the worker died"):
        chat.chat("Hello", "auto", None, 64)
    assert capsys.readouterr().out == "Pa\n"


def test_a_conversation_remembers_until_new(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    front.scripts = [(200, [*OK, b"data: [DONE]\n\n"])] * 3
    answers(monkeypatch, "one", "", "two", "/new", "three", "/quit", "never")
    assert chat.chat(None, "auto", None, 64) == 0
    said = [[message["role"] + ":" + message["content"][:5] for message in r["messages"]] for r in front.requests]
    assert said == [["user:one"], ["user:one", "assistant:Paris", "user:two"], ["user:three"]]


def test_a_failed_question_is_forgotten_and_the_conversation_goes_on(
    front: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    front.scripts = [(404, [ERROR]), (200, [*OK, b"data: [DONE]\n\n"])]
    answers(monkeypatch, "one", "two")
    assert chat.chat(None, "auto", None, 64) == 0
    assert "there is no model" in capsys.readouterr().out
    assert front.requests[1]["messages"] == [{"role": "user", "content": "two"}]


def test_ctrl_c_stops_the_answer_only(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    front.scripts = [(200, [*OK, b"data: [DONE]\n\n"])] * 2
    answers(monkeypatch, "one", "two")
    pieces = chat.Conversation._stream
    interrupted: list[bool] = []

    def stream(self: chat.Conversation) -> Iterator[str]:
        for piece in pieces(self):
            yield piece
            if not interrupted:
                interrupted.append(True)
                raise KeyboardInterrupt

    monkeypatch.setattr(chat.Conversation, "_stream", stream)
    assert chat.chat(None, "auto", None, 64) == 0
    assert [message["content"] for message in front.requests[1]["messages"]] == ["one", "Pa", "two"]


def test_ctrl_c_in_a_single_answer_is_the_exit_code_of_an_interrupt(
    front: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stream(_: chat.Conversation) -> Iterator[str]:
        yield "Pa"
        raise KeyboardInterrupt

    monkeypatch.setattr(chat.Conversation, "_stream", stream)
    assert chat.chat("one", "auto", None, 64) == 130
    assert capsys.readouterr().out == "Pa …\n"


@pytest.mark.parametrize("word", ["/quit", "exit", "Quit", " /exit "])
def test_words_that_leave(front: Front, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    answers(monkeypatch, word, "never")
    assert chat.chat(None, "auto", None, 64) == 0
    assert front.requests == []


@pytest.mark.parametrize("word", ["help", "/help", "/?"])
def test_words_that_help(
    front: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    answers(monkeypatch, word)
    assert chat.chat(None, "auto", None, 64) == 0
    assert capsys.readouterr().out.count("/new starts over") == 2
    assert front.requests == []


@pytest.mark.parametrize("status", [200, 404, 502])
def test_something_else_answers(front: Front, status: int) -> None:
    front.types = {status: "text/html"}
    front.scripts = [(status, [b"<html>It works!</html>"])]
    with pytest.raises(ApiFailed, match=rf"something else .* at {front.url}/v1/ \(status {status}\)"):
        chat.chat("Hello", "auto", None, 64)


def test_the_spinner_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    for terminal in (False, True):
        monkeypatch.setattr(console, "err", Console(file=shown, force_terminal=terminal))
        assert list(chat._after_thinking(iter(["a", "b"]))) == ["a", "b"]
        assert ("thinking" in shown.getvalue()) is terminal


def test_nobody_there(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "load_settings", lambda: Settings(url="http://127.0.0.1:9", api_key="fai-k"))
    with pytest.raises(ApiFailed, match=r"nobody answers at http://127\.0\.0\.1:9/v1/; .*familyai up"):
        chat.chat("Hello", "auto", None, 64)


def test_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "load_settings", lambda: Settings(api_key=""))
    with pytest.raises(ApiFailed, match="familyai up"):
        chat.chat("Hello", "auto", None, 64)


@pytest.mark.parametrize("body", [None, "text", {}, {"error": "text"}, {"message": 3}])
def test_a_body_without_a_message(body: object) -> None:
    assert api_message(body) is None
