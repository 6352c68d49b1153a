import io
import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from workers.speech.decode import BLOCK_S, SAMPLE_RATE, BadAudio, NoAudio, decode, to_pcm


def tone(seconds: float, rate: int = SAMPLE_RATE, hertz: float = 440) -> NDArray[np.int16]:
    return (8000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def wav(samples: NDArray[np.int16], rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(samples, channels).tobytes())
    return made.getvalue()


def encoded(container: str, codec: str, rate: int = 48_000, seconds: float = 3) -> bytes:
    made = io.BytesIO()
    with av.open(made, "w", format=container) as output:
        track = output.add_stream(codec, rate=rate, layout="mono")
        frame = AudioFrame.from_ndarray(tone(seconds, rate)[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = rate
        output.mux([*track.encode(frame), *track.encode(None)])
    return made.getvalue()


def silent_video() -> bytes:
    made = io.BytesIO()
    with av.open(made, "w", format="mp4") as output:
        track = output.add_stream("mpeg4", rate=5, width=64, height=64, pix_fmt="yuv420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        output.mux([*track.encode(frame), *track.encode(None)])
    return made.getvalue()


def heard(data: bytes) -> NDArray[np.float32]:
    return np.concatenate(list(decode(io.BytesIO(data))))


def test_sound_arrives_as_it_was_in_blocks() -> None:
    sound = tone(BLOCK_S * 2 + 1)
    blocks = list(decode(io.BytesIO(wav(sound))))
    assert [len(block) for block in blocks] == [BLOCK_S * SAMPLE_RATE] * 2 + [SAMPLE_RATE]
    assert to_pcm(np.concatenate(blocks)) == sound.tobytes()


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("mp3", "mp3", 44_100),
        ("ogg", "libopus", 48_000),
        ("webm", "libopus", 48_000),
        ("mp4", "aac", 44_100),
        ("flac", "flac", 96_000),
        ("wav", "pcm_mulaw", 8_000),
        ("adts", "aac", 22_050),
    ],
)
def test_containers_and_codecs(container: str, codec: str, rate: int) -> None:
    sound = heard(encoded(container, codec, rate))
    assert len(sound) == pytest.approx(3 * SAMPLE_RATE, rel=0.05)
    spectrum = np.abs(np.fft.rfft(sound))
    assert np.argmax(spectrum) * SAMPLE_RATE / len(sound) == pytest.approx(440, abs=5)


@pytest.mark.parametrize("channels", [2, 3, 6, 8])
def test_channels_become_one(channels: int) -> None:
    assert len(heard(wav(tone(1), channels=channels))) == SAMPLE_RATE


def test_what_was_cut_off_is_used_as_far_as_it_goes() -> None:
    whole = encoded("mp3", "mp3", 44_100)
    assert SAMPLE_RATE < len(heard(whole[: len(whole) // 2])) < 2 * SAMPLE_RATE


def test_damage_in_the_middle_costs_only_itself() -> None:
    whole = encoded("ogg", "libopus", seconds=6)
    third = len(whole) // 3
    damaged = whole[:third] + b"\xff" * 200 + whole[third + 200 :]
    assert 3 * SAMPLE_RATE < len(heard(damaged)) <= 6.1 * SAMPLE_RATE


def wav_header(rate: int = SAMPLE_RATE, channels: int = 1, data_bytes: int = 0xFFFFFFFF) -> bytes:
    block = channels * 2
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, min(rate * block, 2**32 - 1), block, 16)
    return struct.pack("<4sI4s", b"RIFF", 0xFFFFFFFF, b"WAVE") + fmt + struct.pack("<4sI", b"data", data_bytes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 5000,
        b"not a recording at all, but text\n" * 50,
        b"\xff\xfb\x90\x00",
        wav(tone(0)),
        wav_header(rate=0) + bytes(4000),
        wav_header(rate=2**31) + bytes(4000),
        wav_header(channels=9) + bytes(4000),
        wav_header(channels=500) + bytes(4000),
        encoded("mp4", "aac")[:600],
    ],
    ids=[
        "empty",
        "zeros",
        "text",
        "mp3 header",
        "no samples",
        "0 Hz",
        "2 GHz",
        "9 channels",
        "500 channels",
        "cut off",
    ],
)
def test_what_is_no_recording(data: bytes) -> None:
    with pytest.raises(BadAudio) as caught:
        heard(data)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "bad_audio", "file")


def test_a_header_that_claims_more_than_there_is() -> None:
    assert len(heard(wav_header() + tone(1).tobytes())) == SAMPLE_RATE


def crc(data: bytes, bits: int, polynomial: int) -> bytes:
    """As FLAC's frames end with."""
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (bits - 1) else 0)) & ((1 << bits) - 1)
    return value.to_bytes(bits // 8, "big")


def silent_flac(*frame_rates: int) -> bytes:
    """Frames of 65,535 samples in 17 bytes each, in a file that claims 16 kHz."""
    info = struct.pack(">HH6xQ16x", 0xFFFF, 0xFFFF, SAMPLE_RATE << 44 | 15 << 36)
    frames = b""
    for number, rate in enumerate(frame_rates):
        head = b"\xff\xf8\x7d\x08" + struct.pack(">BHH", number, 0xFFFE, rate)
        frame = head + crc(head, 8, 0x07) + b"\x00\x00\x00"
        frames += frame + crc(frame, 16, 0x8005)
    return b"fLaC\x80\x00\x00\x22" + info + frames


def test_a_rate_that_no_recording_has_is_refused_in_the_middle_too() -> None:
    """At 1 Hz those few bytes would be 18 hours, all of them in memory at once."""
    assert len(heard(silent_flac(*[SAMPLE_RATE] * 5))) > 16 * SAMPLE_RATE
    with pytest.raises(BadAudio, match="1 Hz"):
        heard(silent_flac(SAMPLE_RATE, SAMPLE_RATE, SAMPLE_RATE, 1))


def test_a_picture_that_comes_late_is_no_concern() -> None:
    """As in a broadcast that was heard before it was seen: the file's header knows nothing of it."""
    broadcast = encoded("flv", "mp3", 44_100, seconds=60)
    picture = b"\x09\x00\x00\x05" + (61_000).to_bytes(3, "big") + bytes(4) + b"\x12" + bytes(4)
    assert len(heard(broadcast + picture + struct.pack(">I", len(picture)))) == len(heard(broadcast))


def test_a_video_without_sound() -> None:
    with pytest.raises(NoAudio):
        heard(silent_video())


def test_what_the_file_raises_is_not_the_recordings_fault() -> None:
    class Gone(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise OSError("the store is gone")

    with pytest.raises(OSError, match="the store is gone"):
        list(decode(Gone(b"x")))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    path = tmp_path / "secret.wav"
    path.write_bytes(wav(tone(2)))
    return path


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{url}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {url}\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S"><Period><AdaptationSet contentType="audio"><Representation id="1" bandwidth="1">'
    "<BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n",
    "vobsub": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000000\n",
}


class Named(io.BytesIO):
    """FFmpeg takes text with the right name for a playlist."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def urls(path: Path) -> Iterator[str]:
    yield from (str(path), f"file://{path}", path.name, "http://127.0.0.1:9/a.wav", "tcp://127.0.0.1:9", "/etc/passwd")


@pytest.mark.parametrize("playlist", PLAYLISTS)
def test_no_other_file_is_ever_opened(playlist: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(elsewhere.parent)
    for url in urls(elsewhere):
        data = PLAYLISTS[playlist].format(url=url).encode()
        suffix = {"hls": "m3u8", "dash": "mpd", "vobsub": "idx", "concat": "ffconcat"}.get(playlist, playlist)
        for file in (io.BytesIO(data), Named(data, f"{elsewhere.parent}/list.{suffix}")):
            refused(file)


def refused(file: BinaryIO) -> None:
    with pytest.raises(BadAudio):
        list(decode(file))


def test_the_playlists_would_be_read_without_the_locks(elsewhere: Path) -> None:
    """Else the tests above prove nothing: the same list, opened by its name, is the recording it names."""
    path = elsewhere.parent / "list.ffconcat"
    path.write_text(PLAYLISTS["concat"].format(url=elsewhere.name))
    with av.open(str(path)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 2 * SAMPLE_RATE
