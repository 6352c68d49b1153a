"""Any recording that FFmpeg's libraries read, as sound that Whisper hears: 16 kHz, one channel, float32.

A recording is untrusted. FFmpeg is given a nameless file object and three locks, each of which suffices for most cases:
formats that are lists of other files are not on its list of formats, it may open no protocol, and whatever it would
still open is refused by a callback. So a playlist that names `file:///etc/passwd` is an error, not a reader.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, BinaryIO, NoReturn, TypeVar

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from numpy.typing import NDArray

from familyai.errors import BadRequest

Samples = NDArray[np.float32]
T = TypeVar("T")

SAMPLE_RATE = 16_000
"""Samples per second of everything in this package that Whisper hears."""

BLOCK_S = 4
MAX_CHANNELS = 8
"""FFmpeg mixes no more of them into one."""
SAMPLE_RATES = range(1_000, 768_001)

OPENS_OTHERS = frozenset({"concat", "concatf", "dash", "hls", "image2", "image2pipe", "imf", "lavfi"}) | frozenset(
    {"rtp", "rtsp", "sap", "sdp", "vobsub", "webm_dash_manifest"}
)
"""Formats that consist of other files or listen to addresses."""


class BadAudio(BadRequest):
    """What was sent is no recording that can be read."""

    code = "bad_audio"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="file")


class NoAudio(BadAudio):
    """A readable file without a sound track: a silent video, a picture, subtitles."""


def decode(file: BinaryIO) -> Iterator[Samples]:
    """The first sound track in blocks of `BLOCK_S` seconds, the last one shorter; blocks while it reads and decodes.

    Memory is bounded by a block, however long the recording is or says it is. Packets that cannot be decoded are left
    out; where the file breaks off, the recording ends. What is left must be something: raises BadAudio when nothing
    could be decoded, NoAudio when there is no sound track, and whatever `file` raises.
    """
    heard = False
    for frame in _readable(_resampled(_frames(file))):
        heard = True
        yield frame.to_ndarray()[0].astype(np.float32) / 32768
    if not heard:
        raise BadAudio("The audio file has no sound in it: it is empty, broken, or cut off before the first sound.")


def to_pcm(samples: Samples) -> bytes:
    """Signed 16-bit little-endian: exactly what `decode` has read, for it decodes to 16 bits itself."""
    return np.rint(np.clip(samples, -1, 32767 / 32768) * 32768).astype("<i2").tobytes()


def _frames(file: BinaryIO) -> Iterator[AudioFrame]:
    try:
        container = av.open(_Nameless(file), "r", options=_locks(), io_open=_refuse, metadata_errors="ignore")
    except FFmpegError as error:
        raise BadAudio("The audio file could not be read: it is empty, or in no format that is known here.") from error
    with container:
        yield from _decoded(container, _sound_track(container))


def _decoded(container: InputContainer, track: AudioStream) -> Iterator[AudioFrame]:
    for packet in _readable(_packets(container, track)):
        with suppress(InvalidDataError):
            yield from packet.decode()


def _packets(container: InputContainer, track: AudioStream) -> Iterator["Packet[AudioStream]"]:
    """All of them: PyAV stumbles over streams that the file's start did not tell of, but only after the track's end."""
    with suppress(IndexError):
        yield from container.demux(track)


def _readable(items: Iterator[T]) -> Iterator[T]:
    """As far as they go."""
    with suppress(FFmpegError):
        yield from items


def _sound_track(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise NoAudio("The file has no sound track.")
    track = container.streams.audio[0]
    codec = track.codec_context
    if not isinstance(codec, AudioCodecContext):
        raise BadAudio("The sound track is in a codec that is not known here.")
    _check(codec.sample_rate, codec.channels)
    return track


def _check(rate: int, channels: int) -> None:
    """Raises BadAudio. A second of a rate that nobody records at would be hours, all at once in memory."""
    if rate not in SAMPLE_RATES or not 1 <= channels <= MAX_CHANNELS:
        raise BadAudio(f"The sound track claims {rate} Hz and {channels} channels.")


def _resampled(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
    """A recording may change its rate or channels on the way: then what was heard so far is flushed first."""
    resampler, kind = None, None
    for frame in frames:
        frame.pts = None  # gaps in the clock are not sound
        if resampler is None or _kind(frame) != kind:
            _check(frame.sample_rate, frame.layout.nb_channels)
            yield from resampler.resample(None) if resampler else ()
            resampler, kind = _new_resampler(), _kind(frame)
        yield from resampler.resample(frame)
    yield from resampler.resample(None) if resampler else ()


def _new_resampler() -> AudioResampler:
    return AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE, frame_size=BLOCK_S * SAMPLE_RATE)


def _kind(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


@cache
def _locks() -> dict[str, str]:
    formats = av.formats_available - OPENS_OTHERS
    return {"format_whitelist": ",".join(sorted(formats)), "protocol_whitelist": "none"}


def _refuse(url: str, flags: int, options: dict[str, Any]) -> NoReturn:
    raise BadAudio("The audio file refers to other files; send the recording itself.")


class _Nameless:
    """Hides a file's name, by whose extension FFmpeg would take any text for a playlist or a picture's series."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell
