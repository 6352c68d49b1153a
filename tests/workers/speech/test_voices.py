import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from familyai.errors import BadRequest, ConfigurationError
from workers.speech.voices import MOST_LOADED, OPENAI_VOICES, Choice, Voices, choose, config_of, scan

INSTALLED = dict.fromkeys(["en_US-joe-medium", "de_DE-thorsten-medium"])


class Loaded:
    def __init__(self, path: Path) -> None:
        self.path = path
        config = json.loads(config_of(path).read_text())
        self.speakers: Mapping[str, int] = config.get("speaker_id_map", {})


def install(folder: Path, name: str, **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    path.write_bytes(b"weights")
    config_of(path).write_text(json.dumps(config))
    return path


def shelf(tmp_path: Path, mapping: Mapping[str, str] | None = None, wheel: Path | None = None) -> Voices[Loaded]:
    return Voices(tmp_path / "voices", wheel, mapping or {}, Loaded)


@pytest.mark.parametrize(
    ("name", "mapping", "expected"),
    [
        ("de_DE-thorsten-medium", {}, Choice("de_DE-thorsten-medium")),
        ("de_DE-thorsten-medium:amused", {}, Choice("de_DE-thorsten-medium", "amused")),
        ("alloy", {}, Choice("en_US-joe-medium")),
        ("alloy", {"alloy": "de_DE-thorsten-medium"}, Choice("de_DE-thorsten-medium")),
        ("alloy", {"alloy": "de_DE-thorsten-medium:3"}, Choice("de_DE-thorsten-medium", "3")),
        ("nova", {"default": "de_DE-thorsten-medium"}, Choice("de_DE-thorsten-medium")),
        ("nova", {"nova": "gone", "default": "gone too"}, Choice("en_US-joe-medium")),
        ("german", {"german": "de_DE-thorsten-medium"}, Choice("de_DE-thorsten-medium")),
        ("german", {"german": "gone"}, Choice("en_US-joe-medium")),
        ("nobody", {"default": "de_DE-thorsten-medium"}, None),
        ("nobody:alloy", {}, None),
        ("", {}, None),
    ],
)
def test_what_a_name_means(name: str, mapping: dict[str, str], expected: Choice | None) -> None:
    assert choose(name, INSTALLED, mapping) == expected


def test_every_name_of_openai_is_answered() -> None:
    assert len(OPENAI_VOICES) == 13
    assert all(choose(name, INSTALLED, {}) for name in OPENAI_VOICES)


def test_a_voice_is_two_files_in_the_folder_or_one_below(tmp_path: Path) -> None:
    wheel = install(tmp_path / "package", "joe")
    install(tmp_path / "voices", "b")
    install(tmp_path / "voices" / "de", "a")
    install(tmp_path / "voices" / "too" / "deep", "c")
    (tmp_path / "voices" / "alone.onnx").touch()
    assert list(scan(tmp_path / "voices", wheel)) == ["joe", "a", "b"]


def test_the_household_has_its_own_joe(tmp_path: Path) -> None:
    wheel, own = install(tmp_path / "package", "joe"), install(tmp_path / "voices", "joe")
    assert scan(tmp_path / "voices", wheel) == {"joe": own}


def test_without_a_voice_it_says_where_to_put_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"voices"):
        shelf(tmp_path)


def test_a_new_voice_is_found_at_once(tmp_path: Path) -> None:
    install(tmp_path / "voices", "first")
    voices = shelf(tmp_path)
    with pytest.raises(BadRequest, match=r"no voice 'second'.*first.*alloy"):
        voices.find("second")
    path = install(tmp_path / "voices", "second")
    assert voices.find("second")[0].path == path
    assert voices.names()[:2] == ["first", "second"]


def test_a_voice_stays_until_its_files_change(tmp_path: Path) -> None:
    path = install(tmp_path / "voices", "joe")
    voices = shelf(tmp_path)
    before, _ = voices.find("joe")
    assert voices.find("alloy")[0] is before
    os.utime(path, (1, 1))
    assert voices.find("joe")[0] is not before


def test_only_a_few_stay(tmp_path: Path) -> None:
    for number in range(MOST_LOADED + 1):
        install(tmp_path / "voices", f"v{number}")
    voices = shelf(tmp_path)
    first, _ = voices.find("v0")
    for number in range(1, MOST_LOADED + 1):
        voices.find(f"v{number}")
    assert voices.find("v0")[0] is not first


def test_a_broken_voice_fails_its_request_and_can_be_mended(tmp_path: Path) -> None:
    install(tmp_path / "voices", "good")
    broken = install(tmp_path / "voices", "bad")
    config_of(broken).write_text("{")
    voices = shelf(tmp_path)
    with pytest.raises(BadRequest) as raised:
        voices.find("bad")
    assert (raised.value.code, raised.value.param) == ("voice_unusable", "voice")
    assert "bad" in voices.names()
    install(tmp_path / "voices", "bad")
    assert voices.find("bad")[0].path == broken


def test_every_voice_may_leave(tmp_path: Path) -> None:
    path = install(tmp_path / "voices", "joe")
    voices = shelf(tmp_path)
    path.unlink()
    with pytest.raises(BadRequest):
        voices.find("alloy")


def test_speakers_by_name_and_number(tmp_path: Path) -> None:
    install(tmp_path / "voices", "many", speaker_id_map={"ann": 0, "bob": 7})
    install(tmp_path / "voices", "one")
    voices = shelf(tmp_path, {"alloy": "many:bob"})
    asked = ["many", "many:ann", "many:bob", "many:7", "alloy"]
    assert [voices.find(name)[1] for name in asked] == [None, 0, 7, 7, 7]
    for wrong in ("many:carl", "many:1", "many:", "many:²", "one:ann"):
        with pytest.raises(BadRequest, match="has no speaker"):
            voices.find(wrong)


def test_speakers_are_listed_when_they_are_few(tmp_path: Path) -> None:
    install(tmp_path / "voices", "few", speaker_id_map={"ann": 0, "bob": 7})
    install(tmp_path / "voices", "many", speaker_id_map={f"s{number}": number for number in range(900)})
    names = shelf(tmp_path, {"german": "few", "default": "few"}).names()
    assert names == ["few", "few:ann", "few:bob", "many", "german", *OPENAI_VOICES]


def test_an_unmet_mapping_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(tmp_path / "voices", "joe")
    with caplog.at_level(logging.WARNING):
        voices = shelf(tmp_path, {"nova": "gone", "alloy": "joe"})
    assert [(record.action, record.voice) for record in caplog.records] == [("voice.mapping_unmet", "nova")]  # type: ignore[attr-defined]
    assert voices.find("nova")
