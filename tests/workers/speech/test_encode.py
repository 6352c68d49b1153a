import io
from collections.abc import Iterator
from itertools import islice
from typing import get_args

import av
import numpy as np
import pytest

from workers.speech.encode import FORMATS, FormatName, Samples, encoded

RATE_HZ = 22050
NAMES = get_args(FormatName)


def tone(seconds: float, rate_hz: int = RATE_HZ) -> Samples:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    return (np.sin(2 * np.pi * 440 * time_s) * 12000).astype(np.int16)


def decoded(data: bytes, name: FormatName) -> tuple[Samples, int]:
    raw = {"format": "s16le", "options": {"ar": "24000", "ac": "1"}} if name == "pcm" else {}
    with av.open(io.BytesIO(data), **raw) as container:
        resampler = av.AudioResampler("s16", "mono")
        frames = [made for frame in container.decode(audio=0) for made in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray()[0] for frame in frames]), frames[0].sample_rate


def test_every_format_is_known() -> None:
    assert set(FORMATS) == set(NAMES)


@pytest.mark.parametrize("rate_hz", [16000, 22050, 48000])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_encoded_can_be_heard_again(name: FormatName, rate_hz: int) -> None:
    parts = np.array_split(tone(2.5, rate_hz), 4)
    samples, decoded_hz = decoded(b"".join(encoded(parts, rate_hz, name)), name)
    assert len(samples) / decoded_hz == pytest.approx(2.5, abs=0.05 + 2048 / rate_hz)  # AAC pads both ends
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * decoded_hz / len(samples) == pytest.approx(440, abs=3)


@pytest.mark.parametrize("name", NAMES)
def test_the_start_is_out_before_the_end_is_taken_in(name: FormatName) -> None:
    taken: list[int] = []

    def parts() -> Iterator[Samples]:
        for number in range(6):
            taken.append(number)
            yield tone(0.6)

    pieces = encoded(parts(), RATE_HZ, name)
    first = b"".join(islice(pieces, 1))
    assert taken == [0]
    assert len(decoded(first, name)[0]) > 0.2 * RATE_HZ  # and it is audio, not just a header
    assert all(pieces)
    assert taken == list(range(6))


def test_pcm_is_what_openai_documents() -> None:
    data = b"".join(encoded([tone(1)], RATE_HZ, "pcm"))
    assert len(data) == pytest.approx(24000 * 2, abs=200)


def test_a_wav_that_streams_has_no_end_yet() -> None:
    data = b"".join(encoded([tone(0.5)], RATE_HZ, "wav"))
    assert (data[:4], data[4:8], data[8:12]) == (b"RIFF", b"\xff\xff\xff\xff", b"WAVE")
    assert len(data) == 44 + 2 * RATE_HZ // 2


def test_an_odd_rate_becomes_one_the_codec_knows() -> None:
    samples, decoded_hz = decoded(b"".join(encoded([tone(1, 20000)], 20000, "mp3")), "mp3")
    assert decoded_hz == 22050
    assert len(samples) / decoded_hz == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_who_stops_listening_stops_the_source(name: FormatName) -> None:
    closed = []

    def parts() -> Iterator[Samples]:
        try:
            while True:
                yield tone(0.6)
        finally:
            closed.append(True)

    source = parts()
    pieces = encoded(source, RATE_HZ, name)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    source.close()  # type: ignore[attr-defined]
    assert closed == [True]
