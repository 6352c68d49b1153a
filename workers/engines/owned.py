"""Ties vLLM's child processes to the worker: when it dies, however it dies, they die.

vLLM loads the plugins of the group `vllm.general_plugins` in every process it starts, its engine core among them; this
distribution registers `die_with_parent` there.
"""

import ctypes
import multiprocessing
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks the kernel for SIGKILL at the parent's death. Does nothing in a process nobody spawned, or off Linux."""
    parent = multiprocessing.parent_process()
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent.pid:  # it died before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)
