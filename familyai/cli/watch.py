"""`familyai transcribe --watch`: whatever comes to lie in a folder becomes text beside it.

Looked at again and again, not notified of: a recording counts once it has come to rest, which only looking tells, and
network shares notify nobody.
"""

import time
from pathlib import Path

from familyai.cli.api import Api, ApiLost
from familyai.cli.bars import Bars
from familyai.cli.console import out, warn
from familyai.cli.files import make_folder
from familyai.cli.recordings import NoRecording, Settling, Stamp, in_folder, is_done, lasting_stems, stamps_of
from familyai.cli.transcribe import INTERRUPTED, Outcome, Wanted, begin, collect
from familyai.settings import load_settings

INTERVAL_S = 2.0


class Watching:
    """The folders, and what came of their recordings so far. Without `results`, theirs lie beside them."""

    def __init__(self, folders: list[Path], results: Path | None, wanted: Wanted) -> None:
        self._folders, self._results, self._wanted = folders, results, wanted
        self._settling = Settling()
        self._failed: dict[Path, Stamp] = {}

    def due(self) -> dict[Path, Path]:
        """Recordings that rest and have no result newer than they are, each with its result's path without ending."""
        files = [file for folder in self._folders for file in in_folder(folder)]
        stamps = stamps_of(files)
        settled = set(self._settling.settled(stamps))
        stems = dict(zip(files, lasting_stems(files), strict=True))
        targets = {file: (self._results or file.parent) / stems[file] for file in files if file in settled}
        return {
            file: target
            for file, target in targets.items()
            if self._failed.get(file) != stamps[file] and not self._is_done(file, target)
        }

    def failed(self, file: Path) -> None:
        """It is left alone until it changes."""
        self._failed.update(stamps_of([file]))

    def _is_done(self, file: Path, target: Path) -> bool:
        try:
            return is_done(file, (target.with_name(f"{target.name}.{name}") for name in self._wanted.formats))
        except OSError:  # it has just gone
            return True


def watch(folders: list[Path], results: Path | None, wanted: Wanted) -> int:
    """Until Ctrl-C. Raises FamilyAIError for what is wrong from the beginning."""
    _check(folders, results)
    watching = Watching(folders, results, wanted)
    with Api(load_settings()) as api:
        api.ask("GET", "/v1/models")
        out.print("Watching; Ctrl-C ends it.")
        try:
            while True:
                _look(api, watching, wanted)
                time.sleep(INTERVAL_S)
        except KeyboardInterrupt:
            return INTERRUPTED


def _look(api: Api, watching: Watching, wanted: Wanted) -> None:
    try:
        for file, target in watching.due().items():
            if not _transcribed(api, file, target, wanted):
                watching.failed(file)
    except (ApiLost, NoRecording) as error:  # a share comes back, and so does a front
        warn(str(error))


def _check(folders: list[Path], results: Path | None) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise NoRecording(
                f"{folder}: " + ("--watch is for folders" if folder.exists() else "there is no such folder")
            )
    if results is not None:
        if len(folders) > 1:
            raise NoRecording("results of several folders would mix: without --out they lie beside their recordings")
        make_folder(results)


def _transcribed(api: Api, file: Path, target: Path, wanted: Wanted) -> bool:
    """A job for one recording: each has its result as soon as it can be, however many have come."""
    outcome = Outcome()
    with Bars() as bars:
        job = begin(api, [file], wanted, bars, outcome)
        if job is not None:
            collect(api, job.id, target.parent, lambda _: [target], bars, outcome)
    return not outcome.failed
