"""What `familyai up` does where something is in its way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from familyai.cli import plan, state, up
from familyai.cli.home import Home
from familyai.cli.plan import CannotStart
from familyai.errors import ConfigurationError
from familyai.settings import Settings

CATALOGUE = Path(__file__).parents[3] / "queues.yaml"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FAMILYAI_{name.upper()}", raising=False)
    monkeypatch.setenv("FAMILYAI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FAMILYAI_CATALOGUE", str(CATALOGUE))
    return Home(tmp_path / "home")


@pytest.fixture
def running(home: Home) -> Iterator[None]:
    """A supervisor with profile echo, of which only the lock and the state are real."""
    home.make()
    pid, created_at_s = state.own_identity()
    environment = {"FAMILYAI_HOME": str(home.root), "FAMILYAI_PROFILE": "echo"}
    phase = state.StackPhase.STARTING
    running = state.StackState(pid=pid, created_at_s=created_at_s, phase=phase, environment=environment, processes=[])
    with home.lock():
        state.save(home, running)
        yield


@pytest.mark.usefixtures("running")
def test_a_second_start_with_the_same_profile_or_none_shows_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for profile in (None, "echo"):
        assert up.up(profile, detach=True) == 0
        assert "runs already" in capsys.readouterr().out


@pytest.mark.usefixtures("running")
def test_a_second_start_with_another_profile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotStart, match=r"with profile echo; .*familyai down first"):
        up.up("thor", detach=True)
    monkeypatch.setenv("FAMILYAI_PROFILE", "embedded")
    with pytest.raises(CannotStart, match="with profile echo"):
        up.up(None, detach=True)


def test_a_refused_start_leaves_no_home_behind(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "is_free", lambda host, port: False)
    with pytest.raises(CannotStart, match="is taken"):
        up.up("echo", detach=True)
    with pytest.raises(ConfigurationError, match="no profile"):
        up.up("zeus", detach=True)
    monkeypatch.setattr(plan, "is_free", lambda host, port: True)
    monkeypatch.setattr(plan, "find_broker_binary", lambda: None)
    with pytest.raises(CannotStart, match="no broker"):
        up.up("echo", detach=True)
    assert not home.root.exists()
