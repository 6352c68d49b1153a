import json
from pathlib import Path

import pytest

from api.work.pieces import Cuts, Window
from api.work.results import assemble, read_cuts, result_blob, window_blob, write_cuts, write_window
from familyai.blobs import BlobStore
from familyai.transcript import Segment, Transcript, Word

CUTS = Cuts(70.25, "en", (Window(1.0, 20.0, 0, 4), Window(30.5, 60.0, 4, 8)))


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path.as_uri())


def heard(text: str) -> Transcript:
    words = (Word(text, 0.5, 2.0, 0.0),)
    return Transcript("en", 19.0, (Segment(0, 0.5, 2.0, f" {text}", -0.1, 1.0, 0.0, 0.0, words),))


def read(blobs: BlobStore, name: str) -> str:
    with blobs.open(name) as file:
        return file.read().decode()


def test_windows_stand_where_they_were_heard(blobs: BlobStore) -> None:
    write_window(blobs, window_blob("t", 0, 0), heard("One."))
    write_window(blobs, window_blob("t", 0, 1), heard("Two."))
    assemble(blobs, "t", 0, CUTS, ("txt", "srt", "vtt", "json"), words=True)
    assert read(blobs, result_blob("t", 0, "txt")) == "One. Two.\n"
    assert "2\n00:00:31,000 --> 00:00:32,500\nTwo.\n" in read(blobs, result_blob("t", 0, "srt"))
    assert "00:00:31.000 --> 00:00:32.500\nTwo.\n" in read(blobs, result_blob("t", 0, "vtt"))
    verbose = json.loads(read(blobs, result_blob("t", 0, "json")))
    assert verbose["duration"] == 70.25
    assert [word["start"] for word in verbose["words"]] == [1.5, 31.0]
    assert [segment["id"] for segment in verbose["segments"]] == [0, 1]


def test_words_only_for_those_who_asked(blobs: BlobStore) -> None:
    for k in range(2):
        write_window(blobs, window_blob("t", 0, k), heard("One."))
    assemble(blobs, "t", 0, CUTS, ("json",), words=False)
    assert "words" not in json.loads(read(blobs, result_blob("t", 0, "json")))


def test_a_lost_window_is_no_transcript(blobs: BlobStore) -> None:
    write_window(blobs, window_blob("t", 0, 0), heard("One."))
    with pytest.raises(FileNotFoundError):
        assemble(blobs, "t", 0, CUTS, ("txt",), words=False)
    with pytest.raises(FileNotFoundError):
        read(blobs, result_blob("t", 0, "txt"))


def test_cuts_are_kept_as_they_were_found(blobs: BlobStore) -> None:
    write_cuts(blobs, "cuts", CUTS)
    assert read_cuts(blobs, "cuts") == CUTS
