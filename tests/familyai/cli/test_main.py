"""The command as it is typed: help, errors in one line, members from end to end."""

import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from familyai import __version__
from familyai.allowance import Allowance, Role, Roles
from familyai.catalogue import Profile
from familyai.cli import member
from familyai.cli.limits import option
from familyai.cli.main import app, main
from familyai.members import Change, MemberStore
from tests.support import free_port

COMMANDS = [
    "up",
    "down",
    "status",
    "doctor",
    "chat",
    "transcribe",
    "speak",
    "queue",
    "route",
    "usage",
    "member",
    "member add",
    "member limit",
    "member role",
    "member link",
    "member show",
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


def test_what_a_parent_sets(
    broker_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAMILYAI_BROKER_URL", broker_url)

    def familyai(*words: str) -> tuple[int, str, str]:
        return typed(monkeypatch, capsys, "member", *words)

    familyai("add", "Mum", "--role", "admin")
    limits = "--tokens-per-day 200000 --hours 07:00-20:30 --models chat-fast,asr --weight 2 --running 1 --waiting 5"
    assert familyai("add", "Leo", "--role", "child", *limits.split(), "--requests-per-minute", "20")[0] == 0
    shown = " ".join(familyai("show", "leo")[1].split())
    assert "Leo is a child" in shown
    assert "tokens per day 200000 own" in shown
    assert "tokens per minute 40000 every child's" in shown
    lifted = " ".join(familyai("limit", "LEO", "--tokens-per-day", "none", "--waiting", "default")[1].split())
    assert "tokens per day none own" in lifted
    assert "waiting 10 every child's" in lifted
    assert "Leo is an adult" in familyai("role", "leo", "adult")[1]
    assert "user u-[1]" in familyai("link", "leo", "u-[1]")[1]
    listed = " ".join(familyai("list")[1].split())
    assert "Leo adult 01" in listed
    assert "tokens per day none" in listed
    assert "u-[1]" in listed
    assert "user" not in familyai("link", "leo", "none")[1]


def test_the_page_for_parents_lists_every_limit_and_the_roles_own() -> None:
    page = (Path(__file__).parents[3] / "docs" / "members.md").read_text(encoding="utf-8")
    assert all(f"`{option(name)}`" in page for name in Allowance.model_fields)
    child = Roles().child
    assert f"| any | any | {child.requests_per_minute} |" in page
    assert f"| any | any | {child.tokens_per_minute:,}, {child.tokens_per_day:,} |" in page
    assert f"| {child.running}, {child.waiting} |" in page


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ("limit kid --running x", 2, "--running"),
        ("limit kid --running 0", 1, "running"),
        ("limit kid --waiting none", 1, "always a limit"),
        ("limit kid --weight nan", 1, "weight"),
        ("limit kid --models nope", 1, "there are: chat-fast"),
        ("limit kid --hours 9-5", 1, "07:00-20:30"),
        ("limit kid", 2, "say which limit"),
        ("limit nobody --running 1", 1, "no member 'nobody'"),
        ("role kid king", 2, "admin, adult, child"),
        ("role mum child", 1, "last admin"),
        ("limit mum --trusted", 1, "never an admin"),
        ("add robot --role admin --trusted", 1, "never an admin"),
        ("add KID", 1, "already"),
        ("link kid u-1", 1, "'mum' already"),
    ],
)
def test_a_mistake_is_explained_and_changes_nothing(
    words: str,
    code: int,
    complaint: str,
    broker_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAMILYAI_BROKER_URL", broker_url)
    typed(monkeypatch, capsys, "member", "add", "mum", "--role", "admin")
    typed(monkeypatch, capsys, "member", "link", "mum", "u-1")
    typed(monkeypatch, capsys, "member", "add", "kid", "--role", "child")
    _, before, _ = typed(monkeypatch, capsys, "member", "list")

    exited, _, err = typed(monkeypatch, capsys, "member", *words.split())

    assert exited == code
    assert complaint in " ".join(err.split())
    assert "Traceback" not in err
    assert typed(monkeypatch, capsys, "member", "list")[1] == before


async def test_the_shown_key_works(
    redis: Redis, broker_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAMILYAI_BROKER_URL", broker_url)
    await member.add("mum", Role.CHILD, Change())
    shown = capsys.readouterr().out
    keys = {word.removeprefix("FAMILYAI_API_KEY=") for word in shown.split() if "fai-" in word}
    (key,) = keys
    found = await MemberStore(redis, Profile(memory_budget_gb=1, queues={})).authenticate(key)
    assert found is not None
    assert (found.name, found.role) == ("mum", Role.CHILD)
