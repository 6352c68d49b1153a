"""Samples in, a file's bytes out as soon as the codec has them: the start is heard before the end exists.

Nothing here seeks back to amend what was sent: a WAV header says "until the stream ends", a FLAC header "of unknown
length", and players take both.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

FormatName = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
Samples = NDArray[np.int16]
"""Mono."""


@dataclass(frozen=True)
class _Format:
    """A container and a codec in FFmpeg's words. Without `rate_hz` the samples keep theirs if the codec knows it."""

    media_type: str
    container: str
    codec: Literal["libmp3lame", "libopus", "aac", "flac", "pcm_s16le"]
    rate_hz: int | None = None
    bit_rate: int | None = None
    options: dict[str, str] = field(default_factory=dict)


FORMATS: dict[FormatName, _Format] = {
    # without the header frames that are filled in at the end, or are about somebody's record collection
    "mp3": _Format("audio/mpeg", "mp3", "libmp3lame", None, 64_000, {"write_xing": "0", "id3v2_version": "0"}),
    # a page goes out when it is full: at the default second, a short first sentence would wait for the next
    "opus": _Format("audio/ogg", "ogg", "libopus", 48_000, 48_000, {"page_duration": "200000"}),
    "aac": _Format("audio/aac", "adts", "aac", None, 64_000),
    "flac": _Format("audio/flac", "flac", "flac"),
    "wav": _Format("audio/wav", "wav", "pcm_s16le"),
    "pcm": _Format("audio/pcm", "s16le", "pcm_s16le", 24_000),  # as OpenAI documents it: 24 kHz, 16 bits, mono
}

_AT_ONCE = {"flush_packets": "1", "fflags": "+bitexact"}


def encoded(chunks: Iterable[Samples], rate_hz: int, name: FormatName) -> Iterator[bytes]:
    """The file, in pieces of at least a byte; takes the next chunk only when asked for a piece that needs it.

    Holds one chunk at a time. Closing the generator frees the codec.
    """
    form, sink = FORMATS[name], _Sink()
    with av.open(sink, "w", format=form.container, options={**_AT_ONCE, **form.options}) as container:
        codec_rate_hz = form.rate_hz or _nearest_rate(form.codec, rate_hz)
        stream = container.add_stream(form.codec, codec_rate_hz, layout="mono")
        if form.bit_rate:
            stream.bit_rate = form.bit_rate
        for frame in _frames(chunks, rate_hz):
            container.mux(stream.encode(frame))
            yield from sink.take()
        container.mux(stream.encode(None))
    yield from sink.take()


def _frames(chunks: Iterable[Samples], rate_hz: int) -> Iterator[av.AudioFrame]:
    position = 0
    for chunk in chunks:
        if not len(chunk):
            continue
        frame = av.AudioFrame.from_ndarray(chunk[np.newaxis, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, position
        position += len(chunk)
        yield frame


def _nearest_rate(codec: str, rate_hz: int) -> int:
    """The lowest rate the codec knows that loses nothing, else its highest."""
    known = sorted(av.Codec(codec, "w").audio_rates or [rate_hz])
    return next((rate for rate in known if rate >= rate_hz), known[-1])


class _Sink:
    """A file that can only be written. Without a `seek`, FFmpeg knows that nothing can be amended."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def take(self) -> Iterator[bytes]:
        data, self._written = b"".join(self._written), []
        if data:
            yield data
