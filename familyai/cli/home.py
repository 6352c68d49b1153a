"""What `familyai up` keeps in its home, `.familyai` unless told otherwise. The owner alone may read it.

| file               | what it holds                                                           |
|--------------------|-------------------------------------------------------------------------|
| `env`              | `FAMILYAI_URL` and `FAMILYAI_API_KEY` of the first member                |
| `broker.env`       | `FAMILYAI_BROKER_URL`, password included                                 |
| `broker/`          | the broker's configuration and append-only file                          |
| `blobs/`           | large request bodies, until their job has ended                          |
| `models/`          | converted models, a folder each: `owner--name`                           |
| `voices/`          | voices for Piper: downloaded ones, and what anybody drops there          |
| `logs/`            | one log per process; the run before ends in `.1`                         |
| `*.password`       | made once: the broker's users', Flower's, and what signs webhooks        |
| `supervisor.json`  | which processes run, for `status` and `down`                             |
| `supervisor.lock`  | held by the one supervisor of this home                                  |
"""

import fcntl
import os
import secrets
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from familyai import broker_users
from familyai.errors import FamilyAIError


class AlreadyRunning(FamilyAIError):
    """Another supervisor holds this home."""


class Home:
    """Paths, and files that appear whole and are readable by their owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.env = self.root / "env"
        self.broker_env = self.root / "broker.env"
        self.broker = self.root / "broker"
        self.broker_config = self.broker / "valkey.conf"
        self.models = self.root / "models"
        self.logs = self.root / "logs"
        self.state = self.root / "supervisor.json"

    def make(self) -> None:
        """Raises FamilyAIError where the home cannot be written."""
        try:
            for folder in (self.root, self.broker, self.logs):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._close()
        except OSError as error:
            raise FamilyAIError(
                f"cannot write {self.root} (FAMILYAI_HOME names another place): {error.strerror}"
            ) from error

    def _close(self) -> None:
        """Also what an earlier version, or somebody else, left open; where a link leads is not ours."""
        self.root.chmod(0o700)
        for path in self.root.rglob("*"):
            with suppress(OSError):  # somebody else's, or gone
                if not path.is_symlink() and (mode := path.stat().st_mode) & 0o077:
                    path.chmod(stat.S_IMODE(mode) & 0o700)

    def secret(self, name: str) -> str:
        """The password of that name, made at the first call. Its letters need no quoting anywhere."""
        path = self.root / f"{name}.password"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24) + "\n")
        return path.read_text(encoding="utf-8").strip()

    def broker_passwords(self) -> dict[str, str]:
        """One for each user of our own broker. The owner's is the one of homes that had no other yet."""
        names = {user: "broker" if user == broker_users.OWNER else f"broker-{user}" for user in broker_users.USERS}
        return {user: self.secret(name) for user, name in names.items()}

    def api_key(self) -> str:
        """The key that `env` holds; empty where there is none."""
        lines = self.env.read_text(encoding="utf-8").splitlines() if self.env.exists() else []
        return dict(line.split("=", 1) for line in lines if "=" in line).get("FAMILYAI_API_KEY", "")

    def log(self, process: str) -> Path:
        return self.logs / f"{process.replace(' ', '-')}.log"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held until the block ends or the process dies. Raises AlreadyRunning at once when another holds it."""
        with open(self.root / "supervisor.lock", "a", opener=_private, encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(f"FamilyAI already runs from {self.root}") from None
            yield

    def held(self) -> bool:
        """Whether a supervisor runs from this home."""
        if not (self.root / "supervisor.lock").exists():
            return False
        try:
            with self.lock():
                return False
        except AlreadyRunning:
            return True


def write_private(path: Path, text: str) -> None:
    """A reader sees the old text or the new, never half of it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    with open(part, "x", opener=_private, encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def start_log(path: Path) -> None:
    """An empty log; the one of the run before is kept as `.1`."""
    if path.exists():
        path.replace(path.with_name(f"{path.name}.1"))
    with open(path, "w", opener=_private, encoding="utf-8"):
        pass


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, or nothing where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, maxlen=lines)).rstrip()
    except OSError:
        return ""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
