"""A front for the commands, which know it and its key from the environment."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.familyai.cli.support import FakeApi


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeApi]:
    made = FakeApi()
    monkeypatch.setenv("FAMILYAI_HOME", str(tmp_path / "no-home"))
    monkeypatch.setenv("FAMILYAI_URL", made.url)
    monkeypatch.setenv("FAMILYAI_API_KEY", "fai-k")
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.release.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join()
