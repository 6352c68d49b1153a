"""Which processes a household has, with what in their environment and what never on their command line."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from familyai.broker_users import USERS
from familyai.catalogue import Profile
from familyai.cli import stack
from familyai.cli.home import Home
from familyai.cli.probes import HttpProbe
from familyai.settings import Settings

PROFILE = Profile.model_validate(
    {
        "memory_budget_gb": 4,
        "limits": {"drain_s": 7},
        "queues": {
            "chat": {"model": "a/b", "engine": "vllm", "memory_gb": 1, "slots": 2, "env": {"THREADS": "2"}},
            "code": {"model": "c/d", "engine": "echo", "memory_gb": 1, "slots": 2, "swap_group": "x"},
            "code-2": {"model": "e/f", "engine": "echo", "memory_gb": 1, "slots": 2, "swap_group": "x"},
            "tts": {"model": "g/h", "engine": "piper", "memory_gb": 1, "slots": 2},
            "name": {"served_by": "chat"},
        },
    }
)


PASSWORDS = {user: f"hush-{user}" for user in USERS}


def build(
    tmp_path: Path,
    binary: str | None = "/bin/valkey-server",
    engines: tuple[str, ...] = ("vllm", "echo"),
    **settings: object,
) -> stack.Stack:
    values = {"home": tmp_path, "broker_url": SecretStr("redis://:hush@127.0.0.1:7000/0"), **settings}
    environ = {"PATH": "/bin", "FAMILYAI_API_KEY": "fai-mine", "FAMILYAI_URL": "http://elsewhere"}
    own = stack.OwnBroker(binary, PASSWORDS) if binary else None
    return stack.build(
        Settings(**values), PROFILE, Home(tmp_path), environ, "flower-pass", own, lambda engine: engine in engines
    )


def test_the_order_is_broker_workers_front_flower(tmp_path: Path) -> None:
    names = [spec.name for spec in build(tmp_path).specs]
    assert names == ["broker", "worker chat", "worker code", "front", "flower"]


def test_workers_load_side_by_side(tmp_path: Path) -> None:
    stages = [spec.stage for spec in build(tmp_path).specs]
    assert stages[1] == stages[2]
    assert len(set(stages)) == 4


def test_only_resident_models_with_an_engine_get_a_worker(tmp_path: Path) -> None:
    built = build(tmp_path)
    assert built.left_out == ("tts",)
    assert build(tmp_path, engines=("vllm", "echo", "piper")).left_out == ()


def test_a_front_with_all_its_engines_is_healthy_when_it_is_ready(tmp_path: Path) -> None:
    whole = build(tmp_path, engines=("vllm", "echo", "piper"), port=81)
    assert whole.specs[-2].probe == HttpProbe("http://127.0.0.1:81/health/ready")
    assert build(tmp_path, port=81).specs[-2].probe == HttpProbe("http://127.0.0.1:81/health")


def test_workers_count_their_ports_up(tmp_path: Path) -> None:
    workers = build(tmp_path, worker_port=9100).specs[1:3]
    assert [spec.argv for spec in workers] == [
        (sys.executable, "-P", "-m", "workers", "chat", "--port", "9100"),
        (sys.executable, "-P", "-m", "workers", "code", "--port", "9101"),
    ]
    assert workers[1].probe == HttpProbe("http://127.0.0.1:9101/health")


def test_a_worker_has_its_drain_and_ten_seconds_more(tmp_path: Path) -> None:
    assert build(tmp_path).specs[1].stop_timeout_s == 17


def test_no_secret_stands_on_a_command_line(tmp_path: Path) -> None:
    words = " ".join(word for spec in build(tmp_path).specs for word in spec.argv)
    assert "hush" not in words
    assert "flower-pass" not in words
    assert "hush" not in repr(build(tmp_path).specs[0].probe)


def test_everyone_gets_absolute_settings_and_nobody_a_members_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for spec in build(tmp_path, catalogue=Path("q.yaml")).specs:
        assert spec.env["FAMILYAI_CATALOGUE"] == str(tmp_path / "q.yaml")
        assert spec.env["FAMILYAI_HOME"] == str(tmp_path)
        assert spec.env["PATH"] == "/bin"
        assert not {"FAMILYAI_API_KEY", "FAMILYAI_URL"} & spec.env.keys()


def test_each_kind_of_process_is_a_user_of_its_own(tmp_path: Path) -> None:
    users = [urlsplit(spec.env["FAMILYAI_BROKER_URL"]) for spec in build(tmp_path, broker_port=7000).specs[1:]]
    assert [(user.username, user.password, user.port) for user in users] == [
        ("worker", "hush-worker", 7000),
        ("worker", "hush-worker", 7000),
        ("front", "hush-front", 7000),
        ("flower", "hush-flower", 7000),
    ]


def test_who_runs_another_broker_decides_as_whom_they_come(tmp_path: Path) -> None:
    urls = {spec.env["FAMILYAI_BROKER_URL"] for spec in build(tmp_path, binary=None).specs}
    assert urls == {"redis://:hush@127.0.0.1:7000/0"}


def test_a_models_environment_is_its_workers_alone(tmp_path: Path) -> None:
    assert [spec.env.get("THREADS") for spec in build(tmp_path).specs] == [None, "2", None, None, None]


def test_flower_wants_a_password_and_stays_on_this_machine(tmp_path: Path) -> None:
    flower = build(tmp_path, host="0.0.0.0", flower_port=99).specs[-1]
    assert flower.env["FLOWER_BASIC_AUTH"] == "familyai:flower-pass"
    assert "--address=127.0.0.1" in flower.argv


def test_each_port_names_the_variable_that_moves_it(tmp_path: Path) -> None:
    ports = {port.owner: (port.number, port.variable) for port in build(tmp_path).ports}
    assert ports == {
        "broker": (6380, "FAMILYAI_BROKER_PORT"),
        "worker chat": (8000, "FAMILYAI_WORKER_PORT"),
        "worker code": (8001, "FAMILYAI_WORKER_PORT"),
        "front": (8080, "FAMILYAI_PORT"),
        "flower": (5555, "FAMILYAI_FLOWER_PORT"),
    }


def test_a_given_broker_is_neither_started_nor_asked_for_its_port(tmp_path: Path) -> None:
    built = build(tmp_path, binary=None)
    assert "broker" not in [spec.name for spec in built.specs]
    assert "broker" not in [port.owner for port in built.ports]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("thor.lan", "http://thor.lan:80"),
    ],
)
def test_a_client_here_finds_the_front(host: str, url: str) -> None:
    assert stack.local_url(host, 80) == url


@pytest.mark.parametrize(
    ("host", "inside"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.8.0.1", True), ("0.0.0.0", False), ("::", False)],
)
def test_what_stays_on_this_machine(host: str, inside: bool) -> None:
    assert stack.is_loopback(host) is inside


def test_the_broker_keeps_what_it_takes(tmp_path: Path) -> None:
    lines = stack.broker_config(Home(tmp_path), 7000, ["chat"], PASSWORDS).splitlines()
    assert {"bind 127.0.0.1", "port 7000", "user default off", "appendonly yes", "appendfsync everysec"} <= set(lines)
    assert {"maxmemory-policy noeviction", "client-output-buffer-limit pubsub 256mb 64mb 60"} <= set(lines)


def test_the_brokers_configuration_holds_no_password(tmp_path: Path) -> None:
    assert "hush" not in stack.broker_config(Home(tmp_path), 7000, ["chat"], PASSWORDS)
