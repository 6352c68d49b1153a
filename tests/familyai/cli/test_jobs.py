"""What runs, waits or was set aside, as a table."""

from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from familyai.cli import jobs
from familyai.cli.main import app
from tests.familyai.cli.support import SET_ASIDE, FakeApi

NOW_S = 1_800_000_000.0


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "time", SimpleNamespace(time=lambda: NOW_S))


def job(**changed: Any) -> dict[str, Any]:
    plain = {"id": "job-1", "state": "running", "member": "leo", "queue": "chat", "attempt": 1, "position": None}
    return plain | {"created_at": NOW_S - 5, "ended_at": None} | changed


def printed(*words: str) -> list[str]:
    ended = CliRunner().invoke(app, ["jobs", *words])
    assert ended.exit_code == 0, ended.output
    return [" ".join(line.split()) for line in ended.output.splitlines()]


def test_what_runs_and_waits(api: FakeApi) -> None:
    api.jobs["/v1/jobs"] = [job(), job(id="job-2", state="queued", member="ada", attempt=0, position=1)]

    assert printed() == [
        "job queue member state begun since",
        "job-1 chat leo running once 5 s",
        "job-2 chat ada queued, number 1 0 times 5 s",
    ]


def test_what_was_set_aside_says_where_to_look(api: FakeApi) -> None:
    api.jobs[SET_ASIDE] = [job(state="failed", attempt=3, ended_at=NOW_S - 90)]
    head, told, *hint = printed("--failed")

    assert (head, told) == ("job queue member state begun since", "job-1 chat leo failed 3 times 1 min 30 s")
    assert "familyai status" in " ".join(hint)


def test_none_is_said_in_words(api: FakeApi) -> None:
    assert printed() == ["Nothing runs or waits."]
    assert printed("--failed") == ["No request was set aside."]
