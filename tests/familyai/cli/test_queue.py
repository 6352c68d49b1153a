"""The lines as a picture: a square for each place, a dot for each who waits, and words for one's own."""

from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from familyai.cli import queue
from familyai.cli.api import ApiFailed
from familyai.cli.main import app
from familyai.cli.queue import OTHERS, OWN, WIDEST, Queue, Running, Waiting, bar, picture
from tests.familyai.cli.support import FakeApi


def line(**changed: Any) -> Queue:
    plain: dict[str, Any] = {"id": "chat", "model": "org/chat", "workers": 1, "slots": 4, "seconds_per_job": 2.2}
    rest: dict[str, Any] = {"running": 0, "waiting": 0, "running_jobs": [], "waiting_jobs": []}
    return Queue(**(plain | rest | changed))


def shown(*queues: Queue) -> list[str]:
    made = Console(width=200)
    with made.capture() as captured:
        made.print(picture(queues))
    return [text.rstrip() for text in captured.get().splitlines() if text.strip()]


MINE = line(
    running=3,
    waiting=4,
    running_jobs=[Running("leo", 72.3)],
    waiting_jobs=[Waiting("leo", 2, 1, 8.1), Waiting("leo", 4, 2, None)],
)


def test_a_busy_line() -> None:
    assert shown(MINE) == [
        "chat  org/chat, about 3 s each",
        "  ■■■□  ●●●●  3 of 4 running, 4 waiting",
        "  leo: running for 1 min 12 s",
        "  leo: number 2 in line, 1 of others before, starts in about 9 s",
        "  leo: number 4 in line, 2 of others before",
    ]


def test_ones_own_stand_out() -> None:
    styles = [span.style for span in bar(MINE).spans]
    assert styles == [OWN, OTHERS, OTHERS, "dim", OTHERS, OWN, OTHERS, OWN]


def test_an_idle_line_and_one_without_a_worker() -> None:
    assert shown(line(seconds_per_job=None), line(id="asr", workers=0, slots=0, waiting=1)) == [
        "chat  org/chat",
        "  □□□□  0 of 4 running, 0 waiting",
        "asr  org/chat, about 3 s each",
        "    ●  no worker: nothing starts",
    ]


def test_a_crowd_is_cut() -> None:
    crowd = [Waiting("leo", place, 0, None) for place in range(1, 201)]
    told = shown(line(slots=100, running=100, waiting=200, waiting_jobs=crowd))
    assert told[1] == f"  {'■' * WIDEST}…  {'●' * WIDEST}…  100 of 100 running, 200 waiting"
    assert len(told) == 2 + queue.MOST_NAMED + 1
    assert told[-1] == "  and 190 more"


def test_a_name_that_would_steer_the_terminal_is_shown_plainly() -> None:
    assert shown(line(running=1, running_jobs=[Running("[red]\x1b[31mleo", 1.0)]))[-1] == (
        "  [red][31mleo: running for 1 s"
    )


@pytest.mark.parametrize("words", [[], ["--watch"]])
def test_off_a_terminal_it_is_shown_once(api: FakeApi, words: list[str]) -> None:
    job = {"id": "job-1", "priority": "interactive"}
    told = {"id": "chat", "object": "queue", "model": "org/chat", "workers": 1, "slots": 2, "seconds_per_job": None}
    runs, waits = {**job, "member": "leo", "running_s": 1.0}, {"member": "leo", "position": 1, "others_ahead": 0}
    api.queues = [
        told | {"running": 1, "waiting": 1, "running_jobs": [runs], "waiting_jobs": [job | waits | {"eta_s": 0.0}]}
    ]
    ended = CliRunner().invoke(app, ["queue", *words])
    assert ended.exit_code == 0, ended.output
    assert api.calls == ["GET /v1/queue"]


def test_what_the_api_refuses_is_told(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAMILYAI_API_KEY", "fai-wrong")
    with pytest.raises(ApiFailed, match="this key is wrong"):
        queue.show(watch=False)
