"""What is said in a household is seen by nobody who looks after it, and is gone when its time is over."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from familyai.broker_users import USERS
from familyai.cli.home import Home
from tests.integration.home import Household, a_home
from tests.integration.private_day import (
    FILE_NAME,
    PROFILE,
    SECRET,
    STRANGE_KEY,
    Seen,
    events_of,
    files_with,
    live,
    look_everywhere,
)
from tests.support import wait_until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    folder = tmp_path_factory.mktemp("privacy")
    (folder / "queues.yaml").write_text(json.dumps({"profiles": {"private": PROFILE}}))
    names = {"FAMILYAI_CATALOGUE": str(folder / "queues.yaml"), "FAMILYAI_PROFILE": "private"}
    with a_home(folder, **names) as made:
        code, shown = made("up", "--detach")
        assert code == 0, shown
        yield made
        assert made("down")[0] == 0


@pytest.fixture(scope="module")
def seen(household: Household) -> Seen:
    """After a day in which everything happened."""
    made = Seen()
    with events_of(household) as events:
        live(household)
        wait_until(lambda: sum(event["type"] == "task-succeeded" for event in events) > 10, "the tasks are told")
    made.texts["events"] = json.dumps(events)
    made.event_types = {event["type"] for event in events}
    look_everywhere(household, made)
    return made


def test_who_looks_after_it_sees_what_happens(seen: Seen) -> None:
    """Else the rest of this page would find nothing because there is nothing."""
    assert {"task-received", "task-started", "task-succeeded", "worker-heartbeat"} <= seen.event_types
    assert "job.done" in seen.texts["worker-chat-fast.log"]
    assert "job.failed" in seen.texts["worker-chat-fast.log"]
    assert "EchoFailure" in seen.texts["worker-chat-fast.log"]
    assert "chat-fast" in seen.texts["Flower /api/tasks"]
    assert "familyai_" in seen.texts["front /metrics"]


@pytest.mark.parametrize("word", [SECRET, FILE_NAME, STRANGE_KEY])
def test_no_log_metric_page_or_event_holds_what_was_said(seen: Seen, word: str) -> None:
    assert seen.where(word) == []


def test_no_key_and_no_password_is_shown_anywhere(household: Household, seen: Seen) -> None:
    secrets = [path.read_text().strip() for path in household.home.glob("*.password")]
    assert len(secrets) > len(USERS)
    for secret in [*secrets, Home(household.home).api_key()]:
        assert seen.where(secret) == []


def test_nobody_is_refused_by_the_broker_what_they_need(seen: Seen) -> None:
    assert seen.denied
    assert not any(seen.denied.values()), seen.denied


def test_every_file_of_the_home_is_its_owners_alone(household: Household, seen: Seen) -> None:
    found = list(household.home.rglob("*"))
    assert {"appendonlydir", "blobs", "logs", "env"} <= {path.name for path in found}
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (household.home, *found) if path.exists()}
    assert {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


def test_what_was_said_leaves_the_brokers_disk_when_its_time_is_over(household: Household, seen: Seen) -> None:
    folder = household.home / "broker"
    asking = household.start("chat", "celeriac " * 300)
    wait_until(lambda: files_with(folder, "celeriac"), "the waiting request is on disk")
    asking.communicate(timeout=60)
    wait_until(lambda: not files_with(folder, "celeriac"), "it is gone")
    assert files_with(folder, SECRET) == []


def test_a_key_is_never_on_the_brokers_disk(household: Household, seen: Seen) -> None:
    assert files_with(household.home / "broker", Home(household.home).api_key()) == []
    assert files_with(household.home, Home(household.home).api_key()) == ["env"]


def test_what_was_said_last_leaves_the_disk_before_a_stop(tmp_path: Path) -> None:
    with a_home(tmp_path) as household:
        folder = household.home / "broker"
        assert household("up", "--detach")[0] == 0
        assert household("chat", "celeriac")[0] == 0
        assert files_with(folder, "celeriac")  # the next rewriting is minutes away
        assert household("down")[0] == 0
        assert files_with(folder, "celeriac") == []
