"""One process in a session of its own, which leaves nothing behind: process groups, pidfds, death signals of Linux."""

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_REAP_INTERVAL_S = 0.02
_libc = ctypes.CDLL(None)


class Child:
    """Leads its own group, which is killed whenever the child ends, and dies with the process that started it."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        """Starts it, its output appended to `log`. Raises OSError when it cannot be started."""
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(  # noqa: S603 (the stack's own command lines, no shell)
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=0o077,  # logs, append-only file, uploads: the owner's alone
                preexec_fn=_die_with(os.getpid()),
            )
        finally:
            os.close(output)

    @property
    def pid(self) -> int:
        return self._process.pid

    def terminate(self) -> None:
        """Asks the child itself, and not its own children, to end."""
        if self._process.returncode is None:
            os.kill(self.pid, signal.SIGTERM)  # Popen's own would reap a child that has just ended

    def kill(self) -> None:
        """The whole group, at once. Until the child is reaped, no other process or group can have its id."""
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code, negative for a signal, once it and its whole group are gone: what they held is free again."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        pidfd = os.pidfd_open(self.pid)
        loop.add_reader(pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
        self.kill()
        code = self._process.wait()
        await self._orphans_gone()
        return code

    async def _orphans_gone(self) -> None:
        """The rest of the group, killed by now, is ours to reap if this process adopts orphans, else pid 1's."""
        with suppress(ChildProcessError):  # none is left
            while True:
                if os.waitpid(-self.pid, os.WNOHANG) == (0, 0):  # noqa: ASYNC222 (does not wait)
                    await asyncio.sleep(_REAP_INTERVAL_S)


def adopt_orphans() -> None:
    """From now on this process is the parent of its children's orphans, so that it sees the last of them."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def exit_words(code: int) -> str:
    """How a process ended, for a person."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _die_with(parent: int) -> Callable[[], None]:
    def in_child() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return in_child
