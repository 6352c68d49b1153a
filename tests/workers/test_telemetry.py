"""A worker's libraries are told to keep to themselves before one of them is there."""

import subprocess
import sys

from workers.telemetry import VARIABLES

# A worker that cannot find its queue: by then it has said all it has to say about its environment.
SCRIPT = """
import os, sys
sys.argv = ["workers", "no-such-queue"]
for name in sys.stdin.read().split():
    os.environ[name] = "0"
import workers.__main__ as worker
worker.main()
print(" ".join(name for name in os.environ if os.environ[name] == "1"))
print(" ".join(name for name in ("onnxruntime", "vllm", "faster_whisper") if name in sys.modules))
"""


def test_a_worker_turns_them_off_whatever_its_environment_says() -> None:
    words = [sys.executable, "-c", SCRIPT]
    shown = subprocess.run(words, input=" ".join(VARIABLES), capture_output=True, text=True, check=True).stdout
    off, loaded = shown.splitlines()
    assert set(VARIABLES) <= set(off.split())
    assert loaded == ""
