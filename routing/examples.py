"""The labelled requests under `data/requests`: what the router learns from, and what it is examined by.

`data/README.md` says what a line holds. What is held out is never trained on; the split depends on nothing but an
example's id, so that it stays as new ones come.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import orjson

from familyai.kinds import Kind

SEED = "familyai-1"
HELD_OUT_OF = 5
"""One in so many is held out."""
BLIND = "blind"
"""The file that is held out whole."""
MINED = "mined"
"""Files of requests that were looked for because the router got them wrong: never held out, or it would be examined by
little else."""
MORE = "more"
"""Files that came when all that is held out had been read twice: never held out either, so that the examination stays
the same."""
TRIED = ("en-2", "es-2", "fr-2")
"""Files on which the lexicon was tried as it was written: nor these."""

_REPEAT = re.compile(r"\{\{repeat (\d{1,5})\}\}(.*?)\{\{end\}\}", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """`kinds`: the best first, then others that are right too."""

    id: str
    language: str
    kinds: tuple[Kind, ...]
    body: dict[str, Any]
    path: str = "/v1/chat/completions"
    prefer: str | None = None
    traps: tuple[str, ...] = ()
    source: str = ""

    @property
    def held_out(self) -> bool:
        if self.source == BLIND:
            return True
        if self.source in TRIED or self.source.startswith((MINED, MORE)):
            return False
        return hashlib.sha256(f"{SEED}/{self.id}".encode()).digest()[0] % HELD_OUT_OF == 0


def fingerprint() -> str:
    """Of all that the router is trained from: requests, lexicon and signs."""
    folder, digest = files("routing").joinpath("data"), hashlib.sha256()
    for part in ("lexicon", "requests"):
        for file in sorted(folder.joinpath(part).iterdir(), key=lambda file: file.name):
            digest.update(file.read_bytes())
    digest.update(folder.joinpath("side_tasks.yaml").read_bytes())
    return digest.hexdigest()


def read_examples() -> list[Example]:
    """All of them, in the order of the files."""
    folder = files("routing").joinpath("data/requests")
    return [example for file in sorted(folder.iterdir(), key=lambda file: file.name) for example in read_file(file)]


def read_file(file: Traversable) -> Iterator[Example]:
    """Raises ValueError for a line that is no example."""
    source = file.name.removesuffix(".jsonl")
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield _example(orjson.loads(line), source)


def _example(line: dict[str, Any], source: str) -> Example:
    return Example(
        id=line["id"],
        language=line["language"],
        kinds=tuple(Kind(kind) for kind in line["kinds"]),
        body=_expanded(line["request"]),
        path=line.get("path", "/v1/chat/completions"),
        prefer=line.get("headers", {}).get("X-FamilyAI-Prefer"),
        traps=tuple(line.get("traps", ())),
        source=source,
    )


def _expanded(value: Any) -> Any:
    if isinstance(value, str):
        return _REPEAT.sub(_repeated, value) if "{{repeat" in value else value
    if isinstance(value, list):
        return [_expanded(child) for child in value]
    if isinstance(value, dict):
        return {key: _expanded(child) for key, child in value.items()}
    return value


def _repeated(match: re.Match[str]) -> str:
    return "".join(match[2].replace("{i}", str(number)) for number in range(int(match[1])))
