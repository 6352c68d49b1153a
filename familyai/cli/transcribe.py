"""`familyai transcribe`: recordings up, a job followed, and each result beside the others, whole or not at all."""

import io
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from familyai.cli.api import Api, ApiFailed, ApiLost, decoded
from familyai.cli.bars import Bars
from familyai.cli.console import duration, out, own_command
from familyai.cli.files import make_folder, whole
from familyai.cli.follow import JOBS, File, Job, follow, job_path
from familyai.cli.recordings import expanded
from familyai.errors import FamilyAIError
from familyai.filenames import stems
from familyai.languages import language_code
from familyai.settings import load_settings

FORMATS = ("txt", "srt", "vtt", "json")
INTERRUPTED = 130
DELAYS_S = (1.0, 2.0, 4.0, 8.0)
"""Between the tries of what may pass: long enough for a front that starts again."""

_T = TypeVar("_T")
Targets = Callable[[list[File]], list[Path]]
"""Where the results of each recording of a job are written; the paths are without their endings."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for, whichever recordings it is about. Raises FamilyAIError for an unknown language."""

    formats: tuple[str, ...] = ("txt",)
    language: str | None = None
    words: bool = False
    model: str | None = None

    def __post_init__(self) -> None:
        if self.language is not None and language_code(self.language) is None:
            raise FamilyAIError(f"there is no language '{self.language}': a code such as en, or an English name")

    def order(self, file_ids: list[str]) -> dict[str, object]:
        """The body that makes a job."""
        given = {"language": self.language, "model": self.model, "word_timestamps": self.words or None}
        fields: dict[str, object] = {"file_ids": file_ids, "formats": ",".join(self.formats)}
        return fields | {name: value for name, value in given.items() if value is not None}


@dataclass
class Outcome:
    """What became of the recordings. `sent` are those of the job, where this command began it."""

    failed: dict[str, str] = field(default_factory=dict)
    sent: list[Path] = field(default_factory=list)

    @property
    def code(self) -> int:
        return 1 if self.failed else 0

    def called(self, recording: File) -> str:
        """As it was given to the command; a job of another run knows its name only."""
        return str(self.sent[recording.index]) if recording.index < len(self.sent) else recording.name


def transcribe(paths: list[Path], folder: Path, wanted: Wanted) -> int:
    """The exit code: 1 when a recording failed, which is then named. Raises FamilyAIError."""
    files = expanded(paths)
    make_folder(folder)
    with Api(load_settings()) as api, Bars() as bars:
        outcome = Outcome()
        return _until_interrupted(lambda: _all(api, files, folder, wanted, bars, outcome), outcome)


def come_back(job_id: str, folder: Path) -> int:
    """Follows a job that was begun earlier, and writes its results. The exit code. Raises FamilyAIError."""
    make_folder(folder)
    with Api(load_settings()) as api, Bars() as bars:
        outcome = Outcome()
        return _until_interrupted(lambda: collect(api, job_id, folder, in_one(folder), bars, outcome), outcome)


def _all(api: Api, files: list[Path], folder: Path, wanted: Wanted, bars: Bars, outcome: Outcome) -> None:
    job = begin(api, files, wanted, bars, outcome)
    if job is not None:
        collect(api, job.id, folder, in_one(folder), bars, outcome)


def _until_interrupted(work: Callable[[], None], outcome: Outcome) -> int:
    try:
        work()
    except KeyboardInterrupt:
        return INTERRUPTED
    return outcome.code


def cancel(job_id: str) -> int:
    """What is done by then stays to be fetched. Raises ApiFailed."""
    with Api(load_settings()) as api:
        job = decoded(api.ask("POST", f"{job_path(job_id)}/cancel"), Job)
    out.print(f"{job.id} is {job.status}.", markup=False)
    return 0


def begin(api: Api, files: list[Path], wanted: Wanted, bars: Bars, outcome: Outcome) -> Job | None:
    """The job, with all recordings that could be sent, if any. Ctrl-C before leaves nothing. Raises ApiFailed."""
    file_ids: list[str] = []
    api.ask("GET", "/v1/models")  # whoever has no key, or nobody to talk to, hears so before the first upload
    try:
        for index, path in enumerate(files):
            bars.show("sent", "sending", index, len(files), f"{index + 1} of {len(files)}")
            if (file_id := _sent(api, path, bars, outcome)) is not None:
                file_ids.append(file_id)
                outcome.sent.append(path)
        return _begun(api, wanted.order(file_ids)) if file_ids else None
    except ApiLost:
        raise  # perhaps the job has begun, though nobody heard it: it keeps its recordings
    except BaseException as error:
        _take_back(api, file_ids)
        if isinstance(error, KeyboardInterrupt):
            bars.advise("Ended before all were sent; what was sent is deleted.")
        raise
    finally:
        bars.hide("sent")


def _begun(api: Api, order: dict[str, object]) -> Job:
    return decoded(api.ask("POST", JOBS, json=order), Job)


def collect(api: Api, job_id: str, folder: Path, targets: Targets, bars: Bars, outcome: Outcome) -> None:
    """Follows the job to its end, and writes results as they come. Ctrl-C leaves it running, and says how to come back.

    Raises ApiFailed, FamilyAIError.
    """
    try:
        _collect(api, job_id, targets, bars, outcome)
    except KeyboardInterrupt:
        command = f"{own_command()} transcribe --job {job_id}"
        bars.advise(f"The job runs on. To come back to it: {command} --out {shlex.quote(str(folder))}")
        bars.advise(f"To end it: {command} --cancel")
        raise


def _collect(api: Api, job_id: str, targets: Targets, bars: Bars, outcome: Outcome) -> None:
    told: set[int] = set()
    losses = _Losses(bars)
    for job in follow(api, job_id, losses.on_lost):
        losses.over()
        bars.show_job(job)
        for file, target in zip(job.files, targets(job.files), strict=True):
            if file.is_over and file.index not in told:
                told.add(file.index)
                _settle(api, file, target, bars, outcome)
    if job.error and not outcome.failed:  # else each has said why
        raise ApiFailed(f"{job.id}: {job.error.message}")


def in_one(folder: Path) -> Targets:
    """All results in this folder. What is called alike gets a number."""
    return lambda files: [folder / name for name in stems(file.name for file in files)]


def _settle(api: Api, file: File, target: Path, bars: Bars, outcome: Outcome) -> None:
    name = outcome.called(file)
    if file.status != "completed":
        words = file.error.message if file.error else file.status
        outcome.failed[name] = words
        bars.complain(f"{name}: {words}")
        return
    written = [_write(api, url, target.with_name(f"{target.name}.{kind}")) for kind, url in file.results.items()]
    length = f" ({duration(file.duration_s)})" if file.duration_s else ""
    bars.say(f"{name}{length}: {', '.join(str(path) for path in written)}")


def _sent(api: Api, path: Path, bars: Bars, outcome: Outcome) -> str | None:
    """The uploaded file's id; None when it was refused or cannot be read, which is then known. Raises ApiLost."""
    try:
        return patiently(lambda: _upload(api, path, bars))
    except ApiLost:
        raise
    except (ApiFailed, OSError) as error:
        words = str((isinstance(error, OSError) and error.strerror) or error)
        outcome.failed[str(path)] = words
        bars.complain(f"{path}: {words}")
        return None
    finally:
        bars.hide("file")


def _upload(api: Api, path: Path, bars: Bars) -> str:
    """Read from the disk as it is sent."""
    size_bytes = path.stat().st_size
    with _Counted(path, lambda done: bars.show("file", path.name, done, size_bytes)) as file:
        fields = {"data": {"purpose": "transcription"}, "files": {"file": (_as_text(path.name), file)}}
        return decoded(api.ask("POST", "/v1/files", **fields), _Uploaded).id


def _as_text(name: str) -> str:
    """A name that came from a system of another encoding, as a form can carry it."""
    return os.fsencode(name).decode(errors="replace")


class _Uploaded(msgspec.Struct):
    id: str


class _Counted(io.BufferedReader):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, on_read: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path))
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._on_read(self.tell())
        return data


def _take_back(api: Api, file_ids: list[str]) -> None:
    for file_id in file_ids:
        try:
            api.ask("DELETE", f"/v1/files/{file_id}")
        except ApiFailed:
            return  # it expires by itself


def _write(api: Api, url: str, path: Path) -> Path:
    """The result, whole at once. Raises ApiFailed, FamilyAIError."""

    def fetch() -> None:
        with whole(path) as file, api.answer("GET", url) as response:
            for piece in response.iter_bytes():
                file.write(piece)

    patiently(fetch)
    return path


def patiently(action: Callable[[], _T]) -> _T:
    """Tries what may pass again, and raises ApiLost when it does not pass soon."""
    for delay_s in DELAYS_S:
        try:
            return action()
        except ApiLost:
            time.sleep(delay_s)
    return action()


class _Losses:
    """Says once that the connection is gone, not at every try."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._is_lost = False

    def on_lost(self, error: ApiLost) -> None:
        if not self._is_lost:
            self._bars.warn(f"{error}; the job goes on, and this waits for it")
        self._is_lost = True

    def over(self) -> None:
        self._is_lost = False
