"""`familyai` as a person uses it, with the echo engine: up, status, chat, a killed worker, down, and nothing left."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from familyai.allowance import Role
from familyai.broker import connect
from familyai.catalogue import load_profile
from familyai.members import Member, MemberStore
from tests.integration.home import Household, a_home
from tests.support import Broker, wait_until


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    with a_home(tmp_path) as made:
        yield made


def test_a_day_in_the_background(household: Household) -> None:
    code, shown = household("up", "--detach")
    assert code == 0, shown
    assert "What is the capital of France?\nWhat is the capital of France?" in shown  # asked, and echoed
    assert (household.home / "env").stat().st_mode & 0o777 == 0o600

    wait_until(lambda: household.status()["healthy"], "all is well")
    status = household.status()
    assert [process["name"] for process in status["processes"]] == ["broker", "worker chat-fast", "front", "flower"]
    idle = {"workers": 1, "running": 0, "waiting": 0, "wait_s": 0.0}
    assert status["queues"] == [{"queue": "chat-fast", "model": "familyai/echo", **idle}]
    code, shown = household("chat", "hello", "--max-tokens", "2")
    assert (code, shown.splitlines()[0]) == (0, "hello ")
    assert household("chat", "hello", "--model", "nope")[0] == 1
    wait_until(lambda: household("doctor")[0] == 0, "nothing is wrong")

    key = (household.home / "env").read_text()
    code, shown = household("up", "--detach")
    assert code == 0
    assert "runs already" in shown

    worker = household.pids()["worker chat-fast"]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: household.status()["processes"][1]["healthy"], "the worker is back")
    assert household.status()["processes"][1]["restarts"] == 1

    code, shown = household("down")
    assert code == 0
    assert "has stopped" in shown
    assert household.left() == []
    assert household("down") == (0, "FamilyAI does not run.\n")
    assert household("status")[0] == 1
    assert (household.home / "env").read_text() == key


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_foreground_ends_with_a_signal_and_the_key_outlives_it(
    household: Household, number: signal.Signals
) -> None:
    process = household.start("up")
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C stops everything" in line:
            break
    else:
        pytest.fail("it never came up")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert household.left() == []


def test_a_killed_supervisor_leaves_nothing_and_the_next_start_works(household: Household) -> None:
    assert household("up", "--detach")[0] == 0
    key = (household.home / "env").read_text()
    os.kill(household.supervisor(), signal.SIGKILL)
    wait_until(lambda: not household.left(), "all of it is gone")
    assert household("status")[0] == 1
    code, shown = household("up", "--detach")
    assert code == 0, shown
    assert (household.home / "env").read_text() == key  # the broker has kept the member
    assert household("down")[0] == 0
    assert household.left() == []


def test_what_keeps_it_from_starting_is_shown(household: Household) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(household.env["FAMILYAI_FLOWER_PORT"])))
        taken.listen()
        code, shown = household("up", "--detach")
    assert code == 1
    assert "set FAMILYAI_FLOWER_PORT" in shown

    household.env["FAMILYAI_BLOB_URL"] = "nonsense://x"
    code, shown = household("up", "--detach")
    assert code == 1
    assert "FamilyAI did not start: " in shown
    assert "last lines of" in shown
    assert "nonsense" in shown
    assert household.left() == []


def test_a_home_from_before_the_brokers_users_goes_on(household: Household) -> None:
    folder = household.home / "broker"
    folder.mkdir(parents=True)
    before = Broker(folder)
    before.start()
    profile = load_profile(Path(household.env["FAMILYAI_CATALOGUE"]), "echo")
    _, key = asyncio.run(_add_admin(MemberStore(connect(before.url), profile)))
    before.kill()
    (household.home / "broker.password").write_text(f"{before.password}\n")
    (household.home / "broker.env").write_text(f"FAMILYAI_BROKER_URL={before.url}\n")
    (household.home / "env").write_text(f"FAMILYAI_API_KEY={key}\n")
    code, shown = household("up", "--detach")
    assert code == 0, shown
    assert key in (household.home / "env").read_text()  # the member is still known
    assert household("member", "list")[1].count("ada") == 1
    assert household("down")[0] == 0


async def _add_admin(members: MemberStore) -> tuple[Member, str]:
    return await members.add("ada", Role.ADMIN)
