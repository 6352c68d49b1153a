"""The router, asked on the command line, told what was wrong, and its marks written for the examination."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from familyai.cli import route
from familyai.cli.api import ApiFailed
from familyai.cli.main import app
from familyai.cli.route import CannotRoute, Decision, Question, Signal, body_of, picture
from familyai.kinds import Kind
from routing.examples import Example, read_file
from tests.familyai.cli.support import FakeApi

DECISION: dict[str, Any] = {
    "object": "route",
    "queue": "chat-fast",
    "model": "org/chat",
    "kind": "chat-fast",
    "confidence": 0.724,
    "signals": [{"name": "about food", "weight": 2.0}, {"name": "word: [red]\x1bsoup", "weight": -0.5}],
    "reason": "about food; code-agentic has no worker",
    "fallbacks": ["chat-reasoning", "chat-lightweight"],
}
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def api(api: FakeApi) -> FakeApi:
    api.decision = DECISION
    return api


def shown(decision: Decision) -> list[str]:
    made = Console(width=100)
    with made.capture() as captured:
        made.print(picture(decision))
    return [line.rstrip() for line in captured.get().splitlines()]


def decision(**changed: Any) -> Decision:
    signals = [Signal(**signal) for signal in DECISION["signals"]]
    rest = {name: value for name, value in DECISION.items() if name != "object"}
    return Decision(**(rest | {"signals": signals} | changed))


def typed(*words: str, text: bytes | None = None) -> tuple[int, str]:
    ended = CliRunner().invoke(app, ["route", *words], input=text, env={"COLUMNS": "100"})
    return ended.exit_code, ended.output


# --- asked ---


def test_a_decision_as_a_picture() -> None:
    assert shown(decision()) == [
        "kind    chat-fast, 72 % sure",
        "queue   chat-fast, org/chat",
        "reason  about food; code-agentic has no worker",
        "else    chat-reasoning, chat-lightweight",
        "",
        "+2.00  ████████████████████  about food",
        "-0.50  █████                 word: [red]soup",
    ]


@pytest.mark.parametrize("signals", [[], [Signal("an image", 0.0)]])
def test_a_decision_that_has_little_to_say(signals: list[Signal]) -> None:
    lines = shown(decision(kind="named", confidence=1.0, reason="chat was asked for", signals=signals, fallbacks=[]))
    assert lines[:3] == ["kind    named, 100 % sure", "queue   chat-fast, org/chat", "reason  chat was asked for"]
    assert len(lines) == (5 if signals else 3)


def test_the_question_is_asked_as_a_chat(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert route.explain(Question("Soup?", system="Be brief.", prefer="speed", model="auto:chat"), as_json=False) == 0
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Soup?"}]
    assert api.routed == [({"model": "auto:chat", "messages": messages}, "speed")]
    assert "72 % sure" in capsys.readouterr().out


def test_for_programs_it_is_what_the_api_says(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    route.explain(Question("Soup?"), as_json=True)
    assert json.loads(capsys.readouterr().out) == DECISION
    assert api.routed[0] == ({"model": "auto", "messages": [{"role": "user", "content": "Soup?"}]}, None)


def test_files_stand_behind_the_words_and_images_beside_them(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "notes").write_text("ä")
    (tmp_path / "cat.png").write_bytes(PNG)
    files = (tmp_path / "a.py", tmp_path / "notes")
    (message,) = body_of(Question("Why?", files=files))["messages"]
    assert message["content"] == "Why?\n\n```py\nx = 1\n```\n\n```\nä\n```"
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    (message,) = body_of(Question("Which cat?", images=(tmp_path / "cat.png",)))["messages"]
    assert message["content"] == [{"type": "text", "text": "Which cat?"}, image]
    (message,) = body_of(Question(None, images=(tmp_path / "cat.png",)))["messages"]
    assert message["content"] == [image]


def test_a_text_can_come_through_a_pipe(api: FakeApi) -> None:
    code, output = typed("-", "--json", text="Grüße".encode())
    assert (code, json.loads(output)) == (0, DECISION)
    assert api.routed[0][0]["messages"] == [{"role": "user", "content": "Grüße"}]


def test_what_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture_file = tmp_path / "cat.png"
    picture_file.write_bytes(PNG)
    for question, words in (
        (Question(" "), "nothing to route"),
        (Question("x", files=(tmp_path / "none.py",)), r"cannot read .*none\.py: No such file"),
        (Question("x", files=(picture_file,)), r"is no text in UTF-8; for a picture: .* --image"),
        (Question("x", images=(tmp_path / "a.txt",)), "is no image by its ending"),
        (Question("x", images=(tmp_path / "no.png",)), "cannot read"),
    ):
        with pytest.raises(CannotRoute, match=words):
            body_of(question)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))
    with pytest.raises(CannotRoute, match="no text in UTF-8"):
        body_of(Question("-"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "--wrong JOB"),
        (("Soup?", "--prefer", "taste"), "speed, quality"),
        (("Soup?", "--kind", "chat-fast"), "--wrong JOB"),
        (("Soup?", "--wrong", "job-1"), "one at a time"),
        (("--json", "--export", "a.jsonl"), "one at a time"),
        (("--wrong", "job-1", "--export", "a.jsonl"), "one at a time"),
        (("--wrong", "job-1", "--kind", "soup"), "chat-reasoning"),
    ],
)
def test_words_that_do_not_go_together(api: FakeApi, words: tuple[str, ...], complaint: str) -> None:
    code, output = typed(*words)
    assert code == 2
    assert complaint in " ".join(output.replace("│", " ").split())
    assert api.calls == []


def test_where_nobody_answers_it_says_how_to_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FAMILYAI_HOME", str(tmp_path / "no-home"))
    monkeypatch.delenv("FAMILYAI_API_KEY", raising=False)
    with pytest.raises(ApiFailed, match="start FamilyAI with"):
        route.explain(Question("Soup?"), as_json=False)


# --- told ---


def test_an_answer_is_marked(api: FakeApi) -> None:
    code, output = typed("--wrong", "job-0a", "--kind", "chat-reasoning")
    assert (code, output) == (0, "Marked: chat-fast was wrong, chat-reasoning would have been right.\n")
    code, output = typed("--wrong", "job-0b")
    assert output.startswith("Marked: chat-fast was wrong.\nWith --kind (code-traditional, ")
    assert api.told == [
        ("/v1/jobs/job-0a/feedback", {"model": "wrong", "kind": "chat-reasoning"}),
        ("/v1/jobs/job-0b/feedback", {"model": "wrong"}),
    ]


@pytest.mark.parametrize("job", ["", "../files", "job-1?x", "job 1"])
def test_what_is_no_job(api: FakeApi, job: str) -> None:
    with pytest.raises(CannotRoute, match="X-FamilyAI-Job-Id"):
        route.mark(job, None)
    assert api.calls == []


def test_what_the_api_refuses_is_told(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAMILYAI_API_KEY", "fai-wrong")
    with pytest.raises(ApiFailed, match="this key is wrong"):
        route.mark("job-1", None)


# --- exported ---


def marked(number: int, **more: Any) -> dict[str, Any]:
    request = {"messages": [{"role": "user", "content": f"question {number}"}]}
    plain = {"id": f"job-{number}", "object": "route.feedback", "path": "/v1/chat/completions", "prefer": None}
    return plain | {"kind": "chat-fast", "request": request} | more


def test_marks_are_written_as_the_examination_reads_them(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bomb = {"prompt": "{{repeat 99999}}soup{{end}}"}
    api.marks = [
        [marked(4), marked(3, kind=None)],
        [marked(2, kind="vision", path="/v1/messages", prefer="quality"), marked(1, request=bomb)],
    ]
    path = tmp_path / "home.jsonl"
    assert route.export(path) == 0
    four, two, one = read_file(path)
    assert four == Example("home-job-4", "unknown", (Kind.CHAT_FAST,), marked(4)["request"], source="home")
    assert (two.kinds, two.path, two.prefer) == ((Kind.VISION,), "/v1/messages", "quality")
    assert one.body == {"prompt": "{{ repeat 99999}}soup{{end}}"}, "what a person wrote is no template"
    assert path.stat().st_mode & 0o077 == 0, "nobody else's to read"
    assert capsys.readouterr().out == f"{path}: 3 marked; 1 left out, whose right kind nobody said\n"
    assert api.calls == [
        "GET /v1/route/feedback?limit=100",
        "GET /v1/route/feedback?limit=100&after=job-3",
    ]


@pytest.mark.parametrize("marks", [[], [[marked(1, kind=None)]]])
def test_without_a_kind_there_is_nothing_to_learn(
    api: FakeApi, tmp_path: Path, marks: list[list[dict[str, Any]]]
) -> None:
    api.marks = marks
    with pytest.raises(CannotRoute, match=r"nothing to export.*--kind KIND"):
        route.export(tmp_path / "home.jsonl")
    assert list(tmp_path.iterdir()) == []
