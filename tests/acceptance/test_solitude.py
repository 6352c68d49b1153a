"""With the real engines, too: whoever has no network is served, and nobody tries to leave the machine."""

from pathlib import Path

import pytest

from tests.acceptance.conftest import share_models
from tests.integration.home import COMMAND, a_home
from tests.integration.solitude import alone, why_not


@pytest.mark.long
@pytest.mark.skipif(bool(why_not()), reason=f"no network of one's own: {why_not()}")
def test_every_engine_answers_without_any_network_and_none_tries_to_leave(tmp_path: Path) -> None:
    spoken = str(tmp_path / "cat.mp3")
    words = [
        ["up", "--detach"],
        ["chat", "What is the capital of France?"],
        ["speak", "The cat sat in the kitchen.", "-o", spoken],
        ["transcribe", spoken, "--out", str(tmp_path)],
        ["down"],
    ]
    with a_home(tmp_path, FAMILYAI_PROFILE="embedded") as household:
        household.home.mkdir()
        share_models(household.home)
        lived = alone(tmp_path, [[*COMMAND, *command] for command in words], household.env)
    assert [code for code, _ in lived.ran] == [0] * len(words), lived.ran
    assert "Paris" in lived.ran[1][1]
    assert "kitchen" in (tmp_path / "cat.txt").read_text()
    assert lived.named == []
    assert lived.attempts == 0
