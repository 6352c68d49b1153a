"""The command as it is typed: help, errors in one line, members from end to end."""

import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from familyai import __version__
from familyai.allowance import Role
from familyai.catalogue import Profile
from familyai.cli import member
from familyai.cli.main import app, main
from familyai.errors import BadRequest
from familyai.members import Member, MemberStore
from tests.support import free_port

COMMANDS = [
    "up",
    "down",
    "status",
    "doctor",
    "chat",
    "transcribe",
    "speak",
    "member",
    "member add",
    "member list",
    "member rotate",
    "member remove",
]


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROFILE", "CATALOGUE", "PORT", "BROKER_URL", "URL", "API_KEY"):
        monkeypatch.delenv(f"FAMILYAI_{name}", raising=False)
    monkeypatch.setenv("FAMILYAI_HOME", str(tmp_path / "home"))


def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of a command line."""
    monkeypatch.setattr(sys, "argv", ["familyai", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert "<bool>" not in result.output


def test_help_says_which_profile_is_the_default() -> None:
    assert "FAMILYAI_PROFILE" in CliRunner().invoke(app, ["up", "--help"]).output


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"familyai {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, familyai.cli.main; print([m for m in ('openai', 'httpx', 'redis', 'celery') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "variable", "value", "complaint"),
    [
        (["up"], "FAMILYAI_PORT", "eighty", "FAMILYAI_PORT"),
        (["up"], "FAMILYAI_PROFILE", "zeus", "it has: embedded, echo, thor"),
        (["status"], "FAMILYAI_CATALOGUE", "/nowhere.yaml", "/nowhere.yaml"),
        (["member", "list"], "FAMILYAI_PROFILE", "echo", "familyai up"),
        (["chat", "hi"], "FAMILYAI_PROFILE", "echo", "familyai up"),
    ],
)
def test_an_error_is_one_line_that_helps(
    words: list[str],
    variable: str,
    value: str,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    code, _, err = typed(monkeypatch, capsys, *words)
    assert code == 1
    assert err.startswith("error: ")
    assert complaint in err
    assert err.count("\n") == 1


def test_a_broker_that_is_down_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    monkeypatch.setenv("FAMILYAI_BROKER_URL", f"redis://:hush@127.0.0.1:{port}/0")
    code, _, err = typed(monkeypatch, capsys, "member", "list")
    assert code == 1
    assert f"127.0.0.1:{port}" in err
    assert "hush" not in err


def test_down_and_status_where_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, capsys, "down")[:2] == (0, "FamilyAI does not run.\n")
    code, out, _ = typed(monkeypatch, capsys, "status")
    assert code == 1
    assert "familyai up" in out
    code, out, _ = typed(monkeypatch, capsys, "status", "--json")
    assert code == 1
    assert '"healthy": false' in out


def test_a_members_life(broker_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FAMILYAI_BROKER_URL", broker_url)

    def familyai(*words: str) -> tuple[int, str, str]:
        return typed(monkeypatch, capsys, "member", *words)

    assert "no member yet" in familyai("list")[1]
    code, first, _ = familyai("add", "mum", "--role", "admin")
    assert code == 0
    assert familyai("add", "mum")[0] == 1
    assert familyai("add", "kid", "--role", "king")[0] == 2
    _, listed, _ = familyai("list")
    assert "mum" in listed
    code, second, _ = familyai("rotate", "mum")
    assert (code, first != second) == (0, True)
    code, _, err = familyai("remove", "mum")
    assert code == 1
    assert "last admin" in err
    familyai("add", "dad", "--role", "admin")
    assert familyai("remove", "mum")[0] == 0
    assert "no member 'mum'" in familyai("remove", "mum")[2]


async def test_the_shown_key_works(
    redis: Redis, broker_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAMILYAI_BROKER_URL", broker_url)
    await member.add("mum", Role.CHILD)
    shown = capsys.readouterr().out
    keys = {word.removeprefix("FAMILYAI_API_KEY=") for word in shown.split() if "fai-" in word}
    (key,) = keys
    found = await MemberStore(redis, Profile(memory_budget_gb=1, queues={})).authenticate(key)
    assert found is not None
    assert (found.name, found.role) == ("mum", Role.CHILD)


def test_only_the_last_admin_has_to_stay() -> None:
    def person(name: str, role: Role) -> Member:
        return Member(name=name, role=role, key_id="0" * 12, created_at_s=0)

    mum, kid, dad = person("mum", Role.ADMIN), person("kid", Role.CHILD), person("dad", Role.ADMIN)
    with pytest.raises(BadRequest):
        member.refuse_last_admin([mum, kid], "mum")
    member.refuse_last_admin([mum, kid], "kid")
    member.refuse_last_admin([mum, kid, dad], "mum")
    member.refuse_last_admin([mum], "nobody")
