"""Brings a model's files to disk before a worker needs them: `python -m workers.prepare`.

A model with a `wheel_file` ships inside an installed package. As GGUF, a format vLLM's CPU build does not serve, it is
converted once to bf16 safetensors under the home. Every other model comes from its hub, here with `--pull`.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from familyai.catalogue import Model, load_profile
from familyai.errors import ConfigurationError
from familyai.settings import load_settings
from workers import convert, pull

_MARKER = "familyai-source.json"

Say = Callable[[str], None]


def model_path(model: Model, home: Path) -> str:
    """What an engine loads: a converted model's folder, what a package ships, or the id under which a hub knows it.

    Raises ConfigurationError when the package is not installed.
    """
    if model.is_converted:
        return str(_folder(model, home))
    return str(find_source(model.wheel_file)) if model.wheel_file else model.model


def prepare(model: Model, home: Path, say: Say) -> None:
    """Converts a GGUF model unless that is done; half a minute of one core for SmolLM2, milliseconds when done.

    Processes that prepare the same model wait for each other. A folder appears only when whole, so that an interrupted
    run is repaired by the next. Raises ConfigurationError when the package is not installed, CalledProcessError when
    the conversion failed (it has said why on stderr), OSError when the home cannot be written.
    """
    if not model.wheel_file:
        return
    source, target = find_source(model.wheel_file), _folder(model, home)
    if not model.is_converted:
        return
    with _alone(target) as lock:
        if is_current(target, source):
            return
        started_s = time.monotonic()
        say(f"{model.model}: converting {source.stat().st_size / 1e6:.0f} MB of GGUF, once; takes half a minute")
        _replace(target, source, lock)
        say(f"{model.model}: converted in {time.monotonic() - started_s:.0f} s, into {target}")


def find_source(wheel_file: str) -> Path:
    """The file or folder `package/path`, without importing the package. Raises ConfigurationError."""
    package, _, name = wheel_file.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder, name)).exists():
            return path
    raise ConfigurationError(f"wheel_file '{wheel_file}' is not installed; run scripts/01-setup.sh")


def is_current(target: Path, source: Path) -> bool:
    """Whether the folder was converted by this version from this very file."""
    try:
        return (target / _MARKER).read_text() == _marker(source)
    except FileNotFoundError:
        return False


def _folder(model: Model, home: Path) -> Path:
    return home.resolve() / "models" / model.model.replace("/", "--")


def _replace(target: Path, source: Path, lock: int) -> None:
    part, old = _beside(target, "part"), _beside(target, "old")
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    _run_converter(source, part, lock)
    (part / _MARKER).write_text(_marker(source))
    if target.exists():
        target.rename(old)
    part.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _run_converter(source: Path, part: Path, lock: int) -> None:
    """The child shares the lock, so that it stays taken should only this process die."""
    quiet = {} if sys.stderr.isatty() else {"TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", "workers.convert", str(source), str(part)]
    environment = {**os.environ, **quiet, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    subprocess.run(command, env=environment, pass_fds=(lock,), check=True)  # noqa: S603 (our own module and paths)


def _marker(source: Path) -> str:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return json.dumps({"converter": convert.VERSION, "file": source.name, "sha256": digest})


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{suffix}")


@contextmanager
def _alone(target: Path) -> Iterator[int]:
    """One process at a time per model. The lock, a file descriptor, ends with its holders, however they end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _beside(target, "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers.prepare", description="Brings models' files to disk.")
    parser.add_argument("--profile", help="profile of queues.yaml (default: FAMILYAI_PROFILE, or thor with --pull)")
    parser.add_argument("--pull", action="store_true", help="download models from their hub")
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="only this queue, alias or model")
    parser.add_argument("--batch", action="store_true", help="unattended: no progress bars, go on after a failure")
    arguments = parser.parse_args(argv)
    if (arguments.model or arguments.batch) and not arguments.pull:
        parser.error("--model and --batch go with --pull")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """The process's exit status: 0 when every model is there, 1 when one is not, 2 for a wrong name."""
    arguments = _arguments(argv)
    try:
        settings = load_settings()
        name = arguments.profile or ("thor" if arguments.pull else settings.profile)
        profile = load_profile(settings.catalogue, name)
        if arguments.pull:
            wanted = pull.choose(profile, arguments.model)
            return pull.pull_all(wanted, settings.home, _say, batch=arguments.batch)
        for model in profile.models.values():
            prepare(model, settings.home, _say)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _say(words: str) -> None:
    print(f"  {words}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
