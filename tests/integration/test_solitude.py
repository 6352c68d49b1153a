"""A household needs nobody outside, and asks nobody."""

import sys
from pathlib import Path

import pytest

from tests.integration.home import COMMAND, a_home
from tests.integration.solitude import alone, why_not

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(why_not()), reason=f"no network of one's own: {why_not()}"),
]
LEAVING = """
import socket
for kind, host in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
    try:
        socket.socket(kind).connect((host, 9))
    except OSError as error:
        print(error.strerror)
"""


def test_whoever_tries_to_leave_is_counted_and_named(tmp_path: Path) -> None:
    with a_home(tmp_path) as household:
        tried = alone(tmp_path, [[sys.executable, "-c", LEAVING]], household.env)
    assert tried.ran == [(0, "Network is unreachable\nNetwork is unreachable\n")]
    assert tried.attempts == 2
    assert [line.split()[:2] for line in tried.named] == [
        ["socket.connect", "192.0.2.1"],
        ["socket.connect", "2001:db8::1"],
    ]


def test_a_household_without_any_network_answers_and_never_tries_to_leave(tmp_path: Path) -> None:
    words = [["up", "--detach"], ["chat", "hello"], ["doctor"], ["status"], ["down"]]
    with a_home(tmp_path) as household:
        lived = alone(tmp_path, [[*COMMAND, *command] for command in words], household.env)
    assert [code for code, _ in lived.ran] == [0] * len(words), lived.ran
    assert lived.ran[1][1].startswith("hello")
    assert lived.named == []
    assert lived.attempts == 0
