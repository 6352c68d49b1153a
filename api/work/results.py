"""What a transcription job leaves in the blob store, by name, and how a recording's windows become its results.

| name                                     | what                                        | gone when        |
|------------------------------------------|---------------------------------------------|------------------|
| `transcriptions/{id}/audio/{n}`          | the recording, if it came with the job      | the job expires  |
| `transcriptions/{id}/pieces/{n}/{cut}.pcm` | its speech, 16 kHz, 16 bit, one channel     | it is completed  |
| `transcriptions/{id}/pieces/{n}/{cut}.json` | its windows, by time and by place in those | it is completed  |
| `transcriptions/{id}/pieces/{n}/{k}.json`  | what was said in window k                   | it is completed  |
| `transcriptions/{id}/results/{n}.{format}` | the transcript                            | the job expires  |

Everything here blocks; it is for threads.
"""

from collections.abc import Callable, Iterable

import msgspec
import orjson

from api.work.pieces import Cuts, Window
from familyai.blobs import BlobStore
from familyai.transcript import Transcript, decode, encode, joined, shifted, srt, text, verbose_json, vtt
from familyai.transcription import Format

FORMATS: dict[Format, str] = {
    "txt": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "json": "application/json",
}
"""Each format's media type."""

_cuts = msgspec.json.Decoder(Cuts)


def job_folder(job_id: str) -> str:
    return f"transcriptions/{job_id}"


def pieces_folder(job_id: str) -> str:
    """What is of no use once the job is over."""
    return f"{job_folder(job_id)}/pieces"


def file_folder(job_id: str, n: int) -> str:
    """What is of no use once the recording is transcribed."""
    return f"{pieces_folder(job_id)}/{n}"


def audio_blob(job_id: str, n: int) -> str:
    return f"{job_folder(job_id)}/audio/{n}"


def prepared_blob(job_id: str, n: int, cut: str) -> str:
    """Each cutting has a name of its own: one that was thought lost never writes over the one that counts."""
    return f"{file_folder(job_id, n)}/{cut}.pcm"


def cuts_blob(job_id: str, n: int, cut: str) -> str:
    return f"{file_folder(job_id, n)}/{cut}.json"


def window_blob(job_id: str, n: int, k: int) -> str:
    return f"{file_folder(job_id, n)}/{k}.json"


def result_blob(job_id: str, n: int, format_name: Format) -> str:
    return f"{job_folder(job_id)}/results/{n}.{format_name}"


def write_cuts(blobs: BlobStore, name: str, cuts: Cuts) -> None:
    _write(blobs, name, msgspec.json.encode(cuts))


def read_cuts(blobs: BlobStore, name: str) -> Cuts:
    """Raises FileNotFoundError."""
    with blobs.open(name) as file:
        return _cuts.decode(file.read())


def write_window(blobs: BlobStore, name: str, transcript: Transcript) -> None:
    _write(blobs, name, encode(transcript))


def assemble(blobs: BlobStore, job_id: str, n: int, cuts: Cuts, formats: Iterable[Format], words: bool) -> None:
    """Writes the recording's results; doing it again writes the same. Raises FileNotFoundError for a lost window."""
    windows = (_window(blobs, window_blob(job_id, n, k), window) for k, window in enumerate(cuts.windows))
    whole = msgspec.structs.replace(joined(windows, cuts.duration), language=cuts.language)
    for format_name in formats:
        _write(blobs, result_blob(job_id, n, format_name), render(whole, format_name, words=words))


def render(transcript: Transcript, format_name: Format, *, words: bool) -> bytes:
    """A result, as it is downloaded."""
    return _RENDERERS[format_name](transcript, words)


_RENDERERS: dict[Format, Callable[[Transcript, bool], bytes]] = {
    "txt": lambda transcript, _: f"{text(transcript)}\n".encode(),
    "srt": lambda transcript, _: srt(transcript).encode(),
    "vtt": lambda transcript, _: vtt(transcript).encode(),
    "json": lambda transcript, words: orjson.dumps(verbose_json(transcript, words=words)),
}


def _window(blobs: BlobStore, name: str, window: Window) -> Transcript:
    with blobs.open(name) as file:
        return shifted(decode(file.read()), window.start)


def _write(blobs: BlobStore, name: str, data: bytes) -> None:
    with blobs.create(name) as file:
        file.write(data)
