"""Speech from the command line: spoken into a file, and recordings back as text beside what cannot be one."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pysubs2
import pytest

from tests.acceptance.conftest import ROOT, Household
from tests.support import wait_until

SENTENCES = {
    "dinner.mp3": "Dinner is ready. Please come down to the kitchen.",
    "weather.ogg": "Tomorrow it will rain in the afternoon.",
    "dinner.wav": "Grandmother arrives at half past four.",
}


@pytest.fixture(scope="module")
def recordings(household: Household, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `familyai speak` has filled, and one file in it that only claims to sound."""
    folder = tmp_path_factory.mktemp("recordings")
    for name, text in SENTENCES.items():
        spoken = household.familyai("speak", text, "-o", str(folder / name))
        assert spoken.returncode == 0, spoken.stderr
        assert (folder / name).stat().st_size > 5000
    (folder / "broken.mp3").write_text("This is a shopping list: milk, eggs, bread.")
    return folder


def test_a_folder_becomes_text_and_the_bad_file_is_named(
    household: Household, recordings: Path, tmp_path: Path
) -> None:
    ended = household.familyai(
        "transcribe", str(recordings), "--format", "txt,srt", "--language", "en", "--out", str(tmp_path)
    )
    assert ended.returncode == 1, ended.stderr
    assert "broken.mp3: " in ended.stderr
    assert ended.stderr.count("\n") == 1
    stems = ("dinner", "dinner-2", "weather")
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}.{kind}" for stem in stems for kind in ("srt", "txt")}
    assert "kitchen" in (tmp_path / "dinner.txt").read_text()
    assert "half past four" in (tmp_path / "dinner-2.txt").read_text().replace("-", " ").lower()
    assert "rain" in " ".join(line.text for line in pysubs2.load(str(tmp_path / "weather.srt")))


def test_ctrl_c_leaves_the_job_and_one_comes_back_to_it(
    household: Household, recordings: Path, tmp_path: Path, http: httpx.Client
) -> None:
    command = [sys.executable, "-m", "familyai.cli.main", "transcribe", str(recordings / "dinner.mp3")]
    before = begun(http)
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)], env=household.environment, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: process.poll() is not None or begun(http) - before, "the job begins")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    (job_id,) = begun(http) - before
    if process.returncode == 130 and job_id in err:  # else it was faster than the signal
        assert f"transcribe --job {job_id} --out {tmp_path}" in err
    back = household.familyai("transcribe", "--job", job_id, "--out", str(tmp_path))
    assert back.returncode == 0, back.stderr
    assert "kitchen" in (tmp_path / "dinner.txt").read_text()


def begun(http: httpx.Client) -> set[str]:
    """Jobs that are driven, or were."""
    return {str(job["id"]) for job in http.get("/v1/transcription-jobs").json()["data"] if job["status"] != "queued"}


def test_voices_are_listed(household: Household) -> None:
    assert household.familyai("speak", "--voices").stdout.split()
