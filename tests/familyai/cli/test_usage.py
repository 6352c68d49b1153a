"""What was used, as a table: added up by what is asked for, with a total."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from familyai.cli import usage
from familyai.cli.api import ApiFailed
from familyai.cli.main import app
from familyai.cli.usage import By, rows
from familyai.usage import Usage, today
from tests.familyai.cli.support import FakeApi


def one(day: str, member: str, model: str, **units: Any) -> Usage:
    return Usage(day=day, member=member, model=model, **units)


WEEK = [
    one("2026-01-01", "leo", "org/chat", requests=2, input_tokens=1500, output_tokens=20),
    one("2026-01-01", "mia", "org/chat", requests=1, input_tokens=500, output_tokens=30),
    one("2026-01-02", "leo", "org/ears", requests=1, audio_seconds=90.5),
    one("2026-01-02", "leo", "org/voice", requests=1, characters=40),
]


@pytest.mark.parametrize(
    ("by", "requests"),
    [
        (By.MEMBER, {"leo": 4, "mia": 1}),
        (By.DAY, {"2026-01-01": 3, "2026-01-02": 2}),
        (By.MODEL, {"org/chat": 3, "org/ears": 1, "org/voice": 1}),
    ],
)
def test_rows_add_up_what_they_have_in_common(by: By, requests: dict[str, int]) -> None:
    assert {row.name: row.requests for row in rows(WEEK, by)} == requests


@given(
    st.lists(
        st.builds(
            Usage,
            day=st.dates(date(2026, 1, 1), date(2026, 1, 3)).map(date.isoformat),
            member=st.sampled_from(["leo", "mia"]),
            model=st.sampled_from(["a", "b"]),
            requests=st.integers(0, 9),
        )
    ),
    st.sampled_from(list(By)),
)
def test_nothing_is_lost_or_doubled(usages: list[Usage], by: By) -> None:
    found = rows(usages, by)
    assert sum(row.requests for row in found) == sum(used.requests for used in usages)
    assert [row.name for row in found] == sorted({getattr(used, by) for used in usages})


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_table_with_a_total(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.usage = WEEK
    assert usage.show(7, None, By.MEMBER) == 0
    _, leo, mia, total = lines(capsys)
    assert leo == ["leo", "4", "1,500", "20", "1", "min", "30", "s", "40"]
    assert mia == ["mia", "1", "500", "30", "-", "-"]
    assert total == ["total", "5", "2,000", "50", "1", "min", "30", "s", "40"]
    first = today() - timedelta(days=6)
    assert api.calls == [f"GET /v1/usage?from={first}&to={today()}"]


def test_one_row_needs_no_total(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.usage = WEEK[:1]
    usage.show(1, "leo", By.DAY)
    assert [line[0] for line in lines(capsys)] == ["day", "2026-01-01"]
    assert api.calls == [f"GET /v1/usage?from={today()}&to={today()}&member=leo"]


def test_nothing_used_is_said(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    usage.show(7, None, By.MEMBER)
    assert capsys.readouterr().out == "Nothing was used.\n"


def test_a_name_that_would_steer_the_terminal_is_shown_plainly(
    api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.usage = [one("2026-01-01", "[red]\x1b[31mleo", "org/chat", requests=1)]
    usage.show(7, None, By.MEMBER)
    assert "[red][31mleo" in capsys.readouterr().out


def test_what_the_api_refuses_is_told(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAMILYAI_API_KEY", "fai-wrong")
    with pytest.raises(ApiFailed, match="this key is wrong"):
        usage.show(7, None, By.MEMBER)


@pytest.mark.parametrize("words", [("--by", "week"), ("--days", "0"), ("--days", "x")])
def test_words_that_mean_nothing(words: tuple[str, ...]) -> None:
    ended = CliRunner().invoke(app, ["usage", *words])
    assert ended.exit_code == 2
    assert words[0] in ended.output
