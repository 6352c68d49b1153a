"""Which voices there are, which one a name means, and the few that are in memory.

A voice is two files, `NAME.onnx` and `NAME.onnx.json`, in the household's folder of voices or one folder below it; one
more may come with an installed package. Who drops a file there can use it with the next request.
"""

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from familyai.errors import BadRequest, ConfigurationError

log = logging.getLogger(__name__)

OPENAI_VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
DEFAULT = "default"
"""The key of the mapping that says what an OpenAI voice gets that the mapping does not list."""
MOST_LOADED = 6
MOST_SPEAKERS_LISTED = 20


class _Spoken(Protocol):
    @property
    def speakers(self) -> Mapping[str, int]: ...


V = TypeVar("V", bound=_Spoken)


@dataclass(frozen=True)
class Choice:
    """A voice's id and, for a voice with several, the speaker as the client wrote it."""

    voice: str
    speaker: str | None = None


def choose(name: str, installed: Mapping[str, object], mapping: Mapping[str, str]) -> Choice | None:
    """What a client's name means; None when it means nothing. `installed` has the preferred first.

    1. an installed voice, or VOICE:SPEAKER where VOICE is one
    2. a mapped name whose target is such a voice
    3. any other mapped name, and any of OpenAI's: what `default` is mapped to, else the first voice
    """
    if found := _installed(name, installed) or _installed(mapping.get(name), installed):
        return found
    if name in mapping or name in OPENAI_VOICES:
        return _installed(mapping.get(DEFAULT), installed) or next(map(Choice, installed), None)
    return None


def _installed(name: str | None, installed: Mapping[str, object]) -> Choice | None:
    if name is None or name in installed:
        return None if name is None else Choice(name)
    voice, _, speaker = name.rpartition(":")
    return Choice(voice, speaker) if voice in installed else None


def scan(folder: Path, wheel: Path | None) -> dict[str, Path]:
    """Every voice by its id, that of the package first; a folder of the household beats it, and the upper the lower."""
    files = [*([wheel] if wheel else []), *sorted(folder.glob("*/*.onnx")), *sorted(folder.glob("*.onnx"))]
    return {path.stem: path for path in files if config_of(path).is_file()}


def config_of(voice: Path) -> Path:
    """The file beside a voice that describes it."""
    return voice.with_name(f"{voice.name}.json")


class Voices(Generic[V]):
    """The voices of one household. Its methods read files, and block; threads may share it."""

    def __init__(self, folder: Path, wheel: Path | None, mapping: Mapping[str, str], load: Callable[[Path], V]) -> None:
        """Raises ConfigurationError when there is no voice at all."""
        self._folder = folder
        self._wheel = wheel
        self._mapping = mapping
        self._load = load
        self._loaded: OrderedDict[tuple[Path, float, float], V] = OrderedDict()
        self._lock = threading.Lock()
        if not self._installed():
            raise ConfigurationError(
                f"there is no voice to speak with: put NAME.onnx and NAME.onnx.json of a Piper voice into {folder}"
            )
        self._warn_of_unmet()

    def find(self, name: str) -> tuple[V, int | None]:
        """The voice that a client means, in memory, and its speaker. Loading takes half a second, once.

        Raises BadRequest for a name that means nothing and for a voice whose files are broken.
        """
        installed = self._installed()
        choice = choose(name, installed, self._mapping)
        if choice is None:
            raise _not_found(name, self._names(installed))
        voice = self._in_memory(choice.voice, installed[choice.voice])
        return voice, _speaker(choice, voice.speakers)

    def names(self) -> list[str]:
        """Every name that a request may use: installed voices with their speakers, mapped names, OpenAI's."""
        return self._names(self._installed())

    def _names(self, installed: Mapping[str, Path]) -> list[str]:
        own = [name for voice, path in installed.items() for name in (voice, *_speaker_names(voice, path))]
        return list(dict.fromkeys([*own, *(name for name in self._mapping if name != DEFAULT), *OPENAI_VOICES]))

    def _installed(self) -> dict[str, Path]:
        return scan(self._folder, self._wheel)

    def _warn_of_unmet(self) -> None:
        installed = self._installed()
        for name, target in self._mapping.items():
            if _installed(target, installed) is None:
                fields = {"action": "voice.mapping_unmet", "voice": name, "target": target}
                log.warning("a voice is mapped to one that is not installed; it gets the default", extra=fields)

    def _in_memory(self, voice: str, path: Path) -> V:
        """Held by its files' times: who replaces a voice, or mends it, is heard with the next request."""
        with self._lock:
            try:
                key = (path, path.stat().st_mtime, config_of(path).stat().st_mtime)
                if key not in self._loaded:
                    self._loaded[key] = self._load(path)
            except Exception as error:  # whatever the libraries make of a broken file
                fields = {"action": "voice.unusable", "voice": voice, "reason": type(error).__name__}
                log.warning("a voice cannot be loaded", extra=fields)
                raise unusable(voice) from error
            self._loaded.move_to_end(key)
            while len(self._loaded) > MOST_LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[key]


def unusable(voice: str) -> BadRequest:
    """For a voice whose files are not what they should be: the household's to mend, so it says which."""
    words = f"The voice '{voice}' cannot be used: its files are broken, incomplete or for another version of Piper."
    return BadRequest(words, code="voice_unusable", param="voice")


def _not_found(name: str, names: list[str]) -> BadRequest:
    words = f"There is no voice '{name[:100]}'. There are: {', '.join(names)}."
    return BadRequest(words, code="voice_not_found", param="voice")


def _speaker(choice: Choice, speakers: Mapping[str, int]) -> int | None:
    """A speaker's number, from its name or number. Raises BadRequest."""
    if choice.speaker is None:
        return None
    if choice.speaker in speakers:
        return speakers[choice.speaker]
    if choice.speaker.isdecimal() and int(choice.speaker) in speakers.values():
        return int(choice.speaker)
    few = list(speakers)[:MOST_SPEAKERS_LISTED]
    there = f"It has {len(speakers)}, among them: {', '.join(few)}." if speakers else "It has only one."
    words = f"The voice '{choice.voice}' has no speaker '{choice.speaker[:100]}'. {there}"
    raise BadRequest(words, code="voice_not_found", param="voice")


def _speaker_names(voice: str, path: Path) -> Iterator[str]:
    """VOICE:SPEAKER for each, where a person could still choose from the list."""
    try:
        speakers = json.loads(config_of(path).read_text(encoding="utf-8")).get("speaker_id_map", {})
    except (OSError, ValueError, AttributeError):
        return  # a broken voice has no speakers; who asks for it is told
    if isinstance(speakers, dict) and 1 < len(speakers) <= MOST_SPEAKERS_LISTED:
        yield from (f"{voice}:{speaker}" for speaker in speakers)
