"""Downloads models from the Hugging Face hub into its cache (`~/.cache/huggingface`), through the household's proxy.

What an engine calls a model is not always a repository: Whisper's weights come as converted for CTranslate2, and of
Piper's voices only those that the catalogue names are wanted, in the folder in which Piper looks for them.
"""

import errno
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dotenv import dotenv_values

from familyai.catalogue import Engine, Model, Profile
from familyai.errors import ConfigurationError

Say = Callable[[str], None]
Fetch = Callable[[Model], None]

RETRY_AFTER_S = (2.0, 10.0, 30.0, 60.0)
"""Pauses between tries; each try goes on where the one before it stopped, file by file and within files."""

PIPER_VOICES = "rhasspy/piper-voices"
_VOICE = re.compile(r"(?P<language>[a-z]{2,3})_(?P<region>[A-Z]{2})-(?P<name>[^-/]+)-(?P<quality>[a-z_]+)")
"""Names like `en_US-lessac-medium`; any other voice is the household's own, and in no repository."""

_UNUSED = ["*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.gguf", "*.onnx", "original/*"]
"""Copies of the weights in formats that vLLM does not load when there are safetensors."""


def choose(profile: Profile, names: Sequence[str]) -> list[Model]:
    """The models with these queue names, aliases or ids; without names, every one that comes from a hub.

    Raises ConfigurationError for a name that is none of these.
    """
    if not names:
        return [model for model in profile.models.values() if _from_hub(model)]
    return list({model.model: model for model in (_named(profile, name) for name in names)}.values())


def pull_all(
    models: Sequence[Model],
    home: Path,
    say: Say,
    *,
    batch: bool,
    fetch: Fetch | None = None,
    pauses_s: Sequence[float] = RETRY_AFTER_S,
) -> int:
    """0 when all are there, else 1. The first failure ends it, unless `batch`, which tries the rest as well."""
    fetch = fetch or _hub(home, batch)
    failed: list[str] = []
    for number, model in enumerate(models, 1):
        say(f"[{number}/{len(models)}] {model.model}")
        if not _pull(model, say, fetch, pauses_s):
            failed.append(model.model)
            if not batch:
                break
    say(_outcome(failed))
    return 1 if failed else 0


def proxy_environment(environment: Mapping[str, str], env_file: Path) -> dict[str, str]:
    """The variables that HTTP libraries read, from PROXY_URL and NO_PROXY; the environment wins over the file."""
    values = {**dotenv_values(env_file), **environment}
    proxy, direct = values.get("PROXY_URL"), values.get("NO_PROXY")
    found = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": direct}
    return {name: value for name, value in found.items() if value}


def voices_to_pull(model: Model) -> list[str]:
    """The repository's voices that the catalogue names, each once; the one in the wheel is there already."""
    installed = Path(model.wheel_file or "").stem
    named = dict.fromkeys(voice.partition(":")[0] for voice in model.voices.values())
    return [voice for voice in named if voice != installed and _VOICE.fullmatch(voice)]


def voice_path(voice: str) -> str:
    """Where the repository keeps a voice: `en/en_US/lessac/medium/en_US-lessac-medium.onnx`."""
    parts = _VOICE.fullmatch(voice)
    if parts is None:
        raise ValueError(f"'{voice}' is no voice of {PIPER_VOICES}")
    language, region, name, quality = parts.groups()
    return f"{language}/{language}_{region}/{name}/{quality}/{voice}.onnx"


def _outcome(failed: Sequence[str]) -> str:
    if not failed:
        return "all there"
    return (
        f"not downloaded: {', '.join(failed)}. Is the hub reachable from here (PROXY_URL in .env names a proxy)? "
        "Run this again: it goes on where it stopped"
    )


def _from_hub(model: Model) -> bool:
    if model.engine is Engine.PIPER:
        return bool(voices_to_pull(model))
    return model.engine in (Engine.VLLM, Engine.WHISPER) and model.wheel_file is None


def _named(profile: Profile, name: str) -> Model:
    queue = profile.aliases.get(name, name)
    found = profile.model(queue) if queue in profile.queues else None
    for model in profile.models.values():
        if name.lower() in (model.model.lower(), model.model.split("/")[-1].lower()):
            found = model
    if found is None:
        raise ConfigurationError(f"no model '{name}'; there are: {', '.join(profile.models)}, or their models' ids")
    if not _from_hub(found):
        raise ConfigurationError(f"'{name}' ({found.model}, {found.engine}) is not downloaded from a hub")
    return found


def _pull(model: Model, say: Say, fetch: Fetch, pauses_s: Sequence[float]) -> bool:
    for pause_s in (*pauses_s, None):
        try:
            fetch(model)
            return True
        except Exception as error:  # the errors of the hub's library share no root
            say(f"failed: {_first_line(error)}")
            if pause_s is None or _is_final(error):
                return False
            say(f"trying again in {pause_s:g} s")
            time.sleep(pause_s)
    return False


def _is_final(error: Exception) -> bool:
    """Whether trying again cannot help: no such model, no right to it, no room for it."""
    from huggingface_hub import errors

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return True
    return isinstance(
        error,
        errors.RepositoryNotFoundError
        | errors.RemoteEntryNotFoundError
        | errors.RevisionNotFoundError
        | errors.HFValidationError
        | errors.OfflineModeIsEnabled,
    )


def _hub(home: Path, batch: bool) -> Fetch:
    """Sets the environment first: the hub's library reads it when it is imported."""
    os.environ.update(proxy_environment(os.environ, Path(".env")))
    if batch:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

    def fetch(model: Model) -> None:
        if model.engine is Engine.WHISPER:
            _fetch_whisper(model)
        elif model.engine is Engine.PIPER:
            _fetch_voices(model, home / "voices")
        else:
            _fetch_repository(model)

    return fetch


def _fetch_repository(model: Model) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(model.model, revision=model.revision, ignore_patterns=_UNUSED)


def _fetch_whisper(model: Model) -> None:
    import faster_whisper

    from workers.engines.whisper import hub_name

    faster_whisper.download_model(hub_name(model.model), revision=model.revision)


def _fetch_voices(model: Model, folder: Path) -> None:
    """A voice's weights appear last and whole: they are what makes it a voice."""
    from huggingface_hub import hf_hub_download

    folder.mkdir(parents=True, exist_ok=True)
    for voice in voices_to_pull(model):
        for path in (f"{voice_path(voice)}.json", voice_path(voice)):
            cached = hf_hub_download(PIPER_VOICES, path, revision=model.revision)
            _place(Path(cached), folder / Path(path).name)


def _place(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    part.replace(target)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
