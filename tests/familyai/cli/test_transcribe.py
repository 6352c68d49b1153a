"""Recordings through the command: what is sent and written, and what a person is told when something goes wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from familyai.cli import follow, transcribe
from familyai.cli.api import ApiFailed, ApiLost
from familyai.cli.main import main
from familyai.cli.recordings import NoRecording
from familyai.cli.transcribe import Wanted
from familyai.errors import FamilyAIError
from tests.familyai.cli.support import FakeApi, event

TXT = Wanted()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcribe, "DELAYS_S", (0.01, 0.01))
    monkeypatch.setattr(follow, "FIRST_DELAY_S", 0.01)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("a.m4a", "b.mp3"):
        (folder / name).write_bytes(name.encode() * 1000)
    return folder


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_each_recording_has_its_results(
    api: FakeApi, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    wanted = Wanted(("srt", "txt"), "german", words=True, model="asr")
    assert transcribe.transcribe([recordings / "b.mp3", recordings / "a.m4a"], out, wanted) == 0
    assert texts(out) == {
        "a.srt": "srt of a.m4a",
        "a.txt": "txt of a.m4a",
        "b.srt": "srt of b.mp3",
        "b.txt": "txt of b.mp3",
    }
    assert list(api.files.values()) == [("b.mp3", b"b.mp3" * 1000), ("a.m4a", b"a.m4a" * 1000)]
    options = {"formats": "srt,txt", "language": "german", "model": "asr", "word_timestamps": True}
    assert api.order == {"file_ids": ["file-0", "file-1"], **options}
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        f"{recordings / 'b.mp3'} (9 s): {out / 'b.srt'}, {out / 'b.txt'}",
        f"{recordings / 'a.m4a'} (9 s): {out / 'a.srt'}, {out / 'a.txt'}",
    ]
    assert shown.err == ""


def test_what_was_not_asked_for_is_left_to_the_household(api: FakeApi, recordings: Path, tmp_path: Path) -> None:
    assert transcribe.transcribe([recordings], tmp_path, TXT) == 0
    assert api.order == {"file_ids": ["file-0", "file-1"], "formats": "txt"}


def test_what_is_called_alike_gets_a_number_and_older_results_are_replaced(api: FakeApi, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("x/a.wav", "x/a.mp3", "y/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"sound")
    for _ in range(2):
        transcribe.transcribe([tmp_path / "x", tmp_path / "y"], out, TXT)
        assert texts(out) == {"a-2.txt": "txt of a.wav", "a-3.txt": "txt of a.wav", "a.txt": "txt of a.mp3"}


def test_a_name_is_data(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "\u001b[2Jgrüße [red].mp3").write_bytes(b"sound")
    out = tmp_path / "out"
    assert transcribe.transcribe([tmp_path], out, TXT) == 0
    assert list(texts(out)) == ["[2Jgrüße [red].txt"]
    assert "\u001b" not in capsys.readouterr().out


def test_a_name_in_another_encoding_is_taken(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / os.fsdecode(b"gr\xfc\xdfe.mp3")).write_bytes(b"sound")
    assert transcribe.transcribe([tmp_path], tmp_path / "out", TXT) == 0
    assert list(texts(tmp_path / "out").values()) == ["txt of gr\ufffd\ufffde.mp3"]
    capsys.readouterr().out.encode()


def test_what_is_not_there_is_said_before_anything_is_sent(api: FakeApi, recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(NoRecording, match=r"c\.wav: there is no such file"):
        transcribe.transcribe([recordings, tmp_path / "c.wav"], tmp_path, TXT)
    assert api.calls == []


def test_one_that_is_refused_fails_alone(
    api: FakeApi, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.refused = {"a.m4a": "the upload is over the limit of 2 MB"}
    assert transcribe.transcribe([recordings], tmp_path / "out", TXT) == 1
    assert texts(tmp_path / "out") == {"b.txt": "txt of b.mp3"}
    assert capsys.readouterr().err == f"{recordings / 'a.m4a'}: the upload is over the limit of 2 MB\n"


def test_when_all_are_refused_there_is_no_job(api: FakeApi, recordings: Path, tmp_path: Path) -> None:
    api.refused = {"a.m4a": "too large", "b.mp3": "too large"}
    assert transcribe.transcribe([recordings], tmp_path, TXT) == 1
    assert api.job is None


def test_one_that_cannot_be_transcribed_is_named(
    api: FakeApi, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.failing = {"b.mp3": "this is no sound"}
    assert transcribe.transcribe([recordings], tmp_path / "out", TXT) == 1
    assert texts(tmp_path / "out") == {"a.txt": "txt of a.m4a"}
    assert capsys.readouterr().err == f"{recordings / 'b.mp3'}: this is no sound\n"


def test_when_none_can_be_transcribed_each_says_why_and_that_is_all(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x/a.wav", "y/a.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"sound")
    api.failing = {"a.wav": "this is no sound"}
    assert transcribe.transcribe([tmp_path / "x", tmp_path / "y"], tmp_path / "out", TXT) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / 'x' / 'a.wav'}: this is no sound",
        f"{tmp_path / 'y' / 'a.wav'}: this is no sound",
    ]
    assert transcribe.come_back("transcription-1", tmp_path / "out") == 1
    assert capsys.readouterr().err == "a.wav: this is no sound\n" * 2


@pytest.mark.parametrize("call", ["POST /v1/files", "GET /v1/transcription-jobs/transcription-1/files/0/txt"])
def test_a_lost_connection_costs_one_file(api: FakeApi, recordings: Path, tmp_path: Path, call: str) -> None:
    api.broken = {call: 2}
    assert transcribe.transcribe([recordings], tmp_path / "out", TXT) == 0
    assert texts(tmp_path / "out") == {"a.txt": "txt of a.m4a", "b.txt": "txt of b.mp3"}


def test_a_connection_that_stays_lost_is_an_error(api: FakeApi, recordings: Path, tmp_path: Path) -> None:
    api.broken = {"POST /v1/files": 99}
    with pytest.raises(ApiLost, match="broke"):
        transcribe.transcribe([recordings], tmp_path, TXT)
    assert api.job is None


def test_a_job_is_followed_over_lost_connections(
    api: FakeApi, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.events = [[event(1, "job.running", status="running")], [": still there\n\n"], []]
    api.broken = {"GET /v1/transcription-jobs/transcription-1/events": 1}
    assert transcribe.transcribe([recordings], tmp_path / "out", TXT) == 0
    assert len(texts(tmp_path / "out")) == 2
    assert api.last_ids == [None, "1-0", "1-0"]
    assert capsys.readouterr().err.count("this waits for it") == 1


def test_results_come_as_they_are_ready(api: FakeApi, recordings: Path, tmp_path: Path) -> None:
    """The first one's while the second is still under way."""
    url = "/v1/transcription-jobs/transcription-1/files/0/txt"
    file = {"index": 0, "name": "a.m4a", "status": "completed", "duration_s": 9.0, "done_s": 9.0}
    api.events = [[event(1, "file.completed", file={**file, "error": None, "results": {"txt": url}})], []]
    assert transcribe.transcribe([recordings], tmp_path / "out", TXT) == 0
    assert api.calls.count(f"GET {url}") == 1
    assert api.calls.index(f"GET {url}") < len(api.calls) - 1 - api.calls[::-1].index(
        f"GET {url.partition('/files')[0]}"
    )


def test_a_refused_job_takes_its_uploads_back(api: FakeApi, recordings: Path, tmp_path: Path) -> None:
    api.refused = {"job": "there is no model 'x'"}
    with pytest.raises(ApiFailed, match="there is no model 'x'"):
        transcribe.transcribe([recordings], tmp_path, TXT)
    assert api.files == {}


def test_coming_back_writes_the_same(api: FakeApi, recordings: Path, tmp_path: Path) -> None:
    transcribe.transcribe([recordings], tmp_path / "one", TXT)
    assert transcribe.come_back("transcription-1", tmp_path / "two") == 0
    assert texts(tmp_path / "one") == texts(tmp_path / "two")


def test_an_unknown_job_is_the_apis_word(api: FakeApi, tmp_path: Path) -> None:
    with pytest.raises(ApiFailed, match=r"^there is no /v1/transcription-jobs/\.\.%2Fx%3F$"):
        transcribe.come_back("../x?", tmp_path)


def test_a_job_can_be_cancelled(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe.cancel("transcription-1") == 0
    assert api.calls == ["POST /v1/transcription-jobs/transcription-1/cancel"]
    assert capsys.readouterr().out == "transcription-1 is cancelled.\n"


def test_a_wrong_key_is_told_before_an_upload(
    api: FakeApi, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAMILYAI_API_KEY", "fai-wrong")
    with pytest.raises(ApiFailed, match=r"^this key is wrong$"):
        transcribe.transcribe([recordings], tmp_path, TXT)
    assert api.calls == ["GET /v1/models"]


def test_nobody_there(recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAMILYAI_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FAMILYAI_API_KEY", "fai-k")
    with pytest.raises(ApiLost, match=r"nobody answers at http://127\.0\.0\.1:9; .*familyai up"):
        transcribe.transcribe([recordings], tmp_path, TXT)


def test_a_file_is_no_folder_for_results(api: FakeApi, recordings: Path) -> None:
    with pytest.raises(FamilyAIError, match=r"a\.m4a is a file: results need a folder"):
        transcribe.transcribe([recordings], recordings / "a.m4a", TXT)


def test_an_unknown_language_is_told_at_once() -> None:
    with pytest.raises(FamilyAIError, match="klingon"):
        Wanted(language="klingon")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "give recordings"),
        (["a.wav", "--job", "x"], "were sent when it began"),
        (["--job", "x", "--watch"], "were sent when it began"),
        (["--job", "x", "--format", "srt"], "were fixed when it began"),
        (["a.wav", "--cancel"], "--job ID --cancel"),
        (["--watch"], "give folders to watch"),
        (["a.wav", "--words"], "add --format json"),
        (["a.wav", "--format", "txt,doc"], "'doc' is not one of txt, srt, vtt, json"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["familyai", "transcribe", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert complaint in " ".join(capsys.readouterr().err.replace("│", " ").split())


def started(*words: str | Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "familyai.cli.main", "transcribe", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(
    api: FakeApi, recordings: Path, tmp_path: Path
) -> None:
    api.events, api.hangs_at = [[]], "GET /v1/transcription-jobs/transcription-1/events"
    process = started(recordings, "--format", "srt,vtt", "--format", "txt", "--out", tmp_path / "my out")
    assert api.reached.wait(60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert api.order["formats"] == "srt,vtt,txt"
    assert f"transcribe --job transcription-1 --out '{tmp_path / 'my out'}'\n" in err
    assert "transcribe --job transcription-1 --cancel\n" in err
    assert "Traceback" not in err
    assert not any(call.startswith("DELETE") or "cancel" in call for call in api.calls)


def test_ctrl_c_while_sending_leaves_nothing_behind(api: FakeApi, recordings: Path, tmp_path: Path) -> None:
    api.hangs_at = "POST /v1/transcription-jobs"
    process = started(recordings, "--out", tmp_path)
    assert api.reached.wait(60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "Ended before all were sent; what was sent is deleted.\n"
    assert api.files == {}
    assert json.dumps(api.calls).count("DELETE") == 2
