"""The home is the owner's alone, and one supervisor's at a time."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from familyai.cli.home import AlreadyRunning, Home, start_log, tail, write_private
from familyai.errors import FamilyAIError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_reads_it(home: Home) -> None:
    home.secret("broker")
    start_log(home.log("front"))
    assert [mode(path) for path in (home.root, home.broker, home.logs)] == [0o700] * 3
    assert [mode(path) for path in (home.root / "broker.password", home.log("front"))] == [0o600] * 2


def test_a_home_that_was_open_is_closed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch(mode=0o644)
    root = tmp_path / "home"
    (root / "blobs").mkdir(parents=True)
    (root / "blobs" / "upload").touch(mode=0o644)
    (root / "voice").symlink_to(elsewhere)
    for folder in (root, root / "blobs"):
        folder.chmod(0o755)
    Home(root).make()
    found = {path.name: oct(mode(path)) for path in (root, root / "blobs", root / "blobs" / "upload", root / "voice")}
    assert found == {"home": "0o700", "blobs": "0o700", "upload": "0o600", "voice": "0o644"}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FamilyAIError, match=r"FAMILYAI_HOME"):
        Home(tmp_path / "file").make()


def test_a_secret_is_made_once(home: Home) -> None:
    assert home.secret("broker") == home.secret("broker") != home.secret("flower")
    assert len(home.secret("broker")) == 32


def test_a_private_file_is_replaced_whole_and_keeps_its_mode(home: Home) -> None:
    home.env.touch(mode=0o644)
    write_private(home.env, "A=1\n")
    assert (home.env.read_text(), mode(home.env)) == ("A=1\n", 0o600)
    assert [path.name for path in home.root.glob("env*")] == ["env"]


def test_the_key_is_read_back(home: Home) -> None:
    assert home.api_key() == ""
    write_private(home.env, "FAMILYAI_URL=http://x\nFAMILYAI_API_KEY=fai-a=b\n")
    assert home.api_key() == "fai-a=b"


def test_two_supervisors_never_share_a_home(home: Home) -> None:
    assert not home.held()
    with home.lock():
        assert home.held()
        with pytest.raises(AlreadyRunning), home.lock():
            pass
    assert not home.held()


def test_a_lock_dies_with_its_process(home: Home) -> None:
    script = (
        "import sys, signal; from pathlib import Path; from familyai.cli.home import Home\n"
        "with Home(Path(sys.argv[1])).lock(): print('held', flush=True); signal.pause()"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(home.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert home.held()
    finally:
        holder.kill()
        holder.communicate()
    assert not home.held()


def test_the_log_of_the_run_before_is_kept(home: Home) -> None:
    log = home.log("worker chat-fast")
    assert log.name == "worker-chat-fast.log"
    start_log(log)
    log.write_text("one\ntwo\nthree\n")
    assert tail(log, 2) == "two\nthree"
    start_log(log)
    assert (tail(log), tail(log.with_name("worker-chat-fast.log.1"))) == ("", "one\ntwo\nthree")
    assert tail(home.log("nobody")) == ""
