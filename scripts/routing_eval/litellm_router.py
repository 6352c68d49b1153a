"""LiteLLM's complexity router, asked about the same conversations: its environment, and what its tiers mean here.

It tells how complex a request is (SIMPLE, MEDIUM, COMPLEX, REASONING) and knows nothing of code, images or side tasks.
So each tier is given the kind that is right for most of the training part's requests in it: no other fixed mapping
would serve it better there.
"""

import os
import subprocess
import venv
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from familyai.kinds import Kind
from routing.conversation import read
from routing.examples import Example

VERSIONS = ("1.109.1", "1.106.2")
"""The newest, and the last before it asked for certificates that not every index has; both choose alike."""
CLASSIFIERS = {"LiteLLM": "heuristic", "LiteLLM v2": "heuristic_v2"}
"""Its default, a sum over keywords and lengths; and the predictor that it brings along, trained on UltraFeedback."""
METHOD = """LiteLLM is given our checks for images and side tasks, and the other messages as they are. Its tiers know
nothing of code, so each tier counts as the kind that is right for most of the training part's requests in it: no fixed
mapping would be better there. On the ladder the mapping is made anew among the chat kinds, from chats alone: that is
what it is made for."""
INSTALL_LIMIT_S, RUN_LIMIT_S = 900, 600

Mapping = dict[str, Kind]


class CannotRun(Exception):
    """LiteLLM did not install or did not answer; the message says where to read why."""


def install(folder: Path, say: Callable[[str], None]) -> tuple[Path, str]:
    """Its Python and its version; what is there is used. Blocks for a minute the first time. Raises CannotRun."""
    python, stamp = folder / "bin" / "python", folder / "installed"
    if stamp.exists():
        return python, stamp.read_text(encoding="utf-8")
    say("installing LiteLLM, once: about a minute, 350 MB")
    venv.create(folder, with_pip=True, clear=True)
    with (folder / "pip.log").open("wb") as log:
        version = next((version for version in VERSIONS if _pip(python, version, log) == 0), None)
    if version is None:
        raise CannotRun(f"it did not install: see {folder / 'pip.log'}")
    stamp.write_text(version, encoding="utf-8")
    return python, version


def _pip(python: Path, version: str, log: Any) -> int:
    command = [str(python), "-m", "pip", "install", "--progress-bar", "off", f"litellm=={version}"]
    try:
        return subprocess.run(command, stdout=log, stderr=log, check=False, timeout=INSTALL_LIMIT_S).returncode  # noqa: S603
    except subprocess.TimeoutExpired:
        return 1


def tiers(python: Path, examples: Sequence[Example], classifier: str) -> list[str]:
    """What it chooses for each. Raises CannotRun."""
    script = Path(__file__).with_name("litellm_tiers.py")
    lines = b"".join(orjson.dumps(messages(example.body)) + b"\n" for example in examples)
    try:
        run = subprocess.run(  # noqa: S603
            [str(python), str(script), classifier],
            input=lines,
            capture_output=True,
            check=True,
            timeout=RUN_LIMIT_S,
            cwd=python.parent,
            env=_environment(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        raise CannotRun(f"it failed: {said.decode(errors='replace')[-300:]}") from error
    chosen = run.stdout.decode().split()
    if len(chosen) != len(examples):
        raise CannotRun(f"it answered {len(chosen)} of {len(examples)}")
    return chosen


def _environment() -> dict[str, str]:
    """No keys, no proxies, nothing of ours; prices from its own file."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
    return kept | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "PYTHONUTF8": "1"}


def messages(body: dict[str, Any]) -> list[Any]:
    """As a chat request would have them, whatever the endpoint."""
    given = body.get("messages")
    if isinstance(given, list):
        return given
    return [{"role": turn.role, "content": turn.text} for turn in read(body).turns]


def best_mapping(choices: Iterable[tuple[str, Example]], kinds: Sequence[Kind]) -> Mapping:
    """For each tier the kind that is right most often."""
    inside = defaultdict[str, list[Example]](list)
    for tier, example in choices:
        inside[tier].append(example)
    return {tier: _right_most_often(of_tier, kinds) for tier, of_tier in sorted(inside.items())}


def _right_most_often(examples: list[Example], kinds: Sequence[Kind]) -> Kind:
    return max(kinds, key=lambda kind: sum(kind in example.kinds for example in examples))
