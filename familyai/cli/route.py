"""`familyai route`: what the router would choose and why, and what the household tells it about its choices."""

import base64
import mimetypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from familyai.cli.api import Api, decoded
from familyai.cli.console import out, own_command, printable
from familyai.cli.files import whole
from familyai.errors import FamilyAIError
from familyai.kinds import Kind
from familyai.settings import load_settings

WIDEST = 20
"""Blocks of the strongest signal's bar."""
PAGE = 100
CHAT = "/v1/chat/completions"


class CannotRoute(FamilyAIError):
    """Something is missing, and the message says what."""


@dataclass(frozen=True)
class Question:
    """A chat request as it is described on the command line."""

    text: str | None
    system: str | None = None
    files: tuple[Path, ...] = ()
    images: tuple[Path, ...] = ()
    prefer: str | None = None
    model: str = "auto"


class Signal(msgspec.Struct, frozen=True):
    name: str
    weight: float


class Decision(msgspec.Struct, frozen=True):
    """As the API tells it."""

    queue: str
    model: str
    kind: str
    confidence: float
    signals: list[Signal]
    reason: str
    fallbacks: list[str]


class Mark(msgspec.Struct, frozen=True):
    """A choice that was called wrong, with what is kept of its request."""

    id: str
    path: str
    kind: Kind | None = None
    prefer: str | None = None
    request: dict[str, Any] = {}


class _Marks(msgspec.Struct):
    data: list[Mark]
    last_id: str | None
    has_more: bool


class _Marked(msgspec.Struct):
    chosen: str
    kind: str | None


def explain(question: Question, as_json: bool) -> int:
    """The exit code; nothing is run. Raises FamilyAIError."""
    headers = {"X-FamilyAI-Prefer": question.prefer} if question.prefer else {}
    with Api(load_settings()) as api:
        answer = api.ask("POST", "/v1/route", json=body_of(question), headers=headers)
    if as_json:
        out.print(msgspec.json.format(answer).decode(), markup=False, soft_wrap=True)
    else:
        out.print(picture(decoded(answer, Decision)))
    return 0


def mark(job: str, kind: Kind | None) -> int:
    """Says that the model chosen for a job was wrong; the exit code. Raises FamilyAIError."""
    said = {"model": "wrong"} | ({"kind": kind} if kind else {})
    with Api(load_settings()) as api:
        marked = decoded(api.ask("POST", f"/v1/jobs/{_id(job)}/feedback", json=said), _Marked)
    right = f", {marked.kind} would have been right" if marked.kind else ""
    out.print(f"Marked: {marked.chosen} was wrong{right}.", markup=False)
    if not marked.kind:
        out.print(f"With --kind ({', '.join(Kind)}) it can be learnt from.", style="dim", markup=False)
    return 0


def export(path: Path) -> int:
    """Writes one's own marks, an admin all, for `make eval-routing`; the exit code. Raises FamilyAIError."""
    marks = _all_marks()
    lines = [line_of(one) for one in marks if one.kind]
    without = len(marks) - len(lines)
    left_out = f"; {without} left out, whose right kind nobody said" if without else ""
    if not lines:
        raise CannotRoute(f"there is nothing to export{left_out}: mark answers with --wrong JOB --kind KIND")
    with whole(path) as file:
        os.fchmod(file.fileno(), 0o600)  # it is what somebody asked
        file.write(b"".join(line + b"\n" for line in lines))
    out.print(f"{printable(str(path))}: {len(lines)} marked{left_out}", markup=False, soft_wrap=True)
    return 0


def body_of(question: Question) -> dict[str, Any]:
    """Files stand behind the words, as code blocks. Raises CannotRoute."""
    blocks = [f"```{path.suffix[1:]}\n{_text_in(path).rstrip()}\n```" for path in question.files]
    text = "\n\n".join(part for part in (_given(question.text), *blocks) if part)
    images = [{"type": "image_url", "image_url": {"url": _data_url(path)}} for path in question.images]
    if not text.strip() and not images:
        raise CannotRoute("nothing to route: give a text, a file or an image")
    content = [*([{"type": "text", "text": text}] if text else []), *images] if images else text
    system = [{"role": "system", "content": question.system}] if question.system else []
    return {"model": question.model, "messages": [*system, {"role": "user", "content": content}]}


def line_of(marked: Mark) -> bytes:
    """As `routing/data/README.md` has it; nothing in it is repeated, whatever it says."""
    line: dict[str, Any] = {"id": f"home-{marked.id}", "language": "unknown", "kinds": [marked.kind]}
    if marked.path != CHAT:
        line["path"] = marked.path
    if marked.prefer:
        line["headers"] = {"X-FamilyAI-Prefer": marked.prefer}
    return msgspec.json.encode(line | {"request": marked.request}).replace(b"{{repeat", b"{{ repeat")


def picture(decision: Decision) -> RenderableType:
    """What was decided, then what spoke for it and against."""
    about = Table.grid(padding=(0, 2))
    about.add_column(style="dim")
    about.add_column(overflow="fold")
    about.add_row("kind", Text.assemble((decision.kind, "bold"), f", {100 * decision.confidence:.0f} % sure"))
    about.add_row("queue", Text.assemble((decision.queue, "bold"), f", {decision.model}"))
    about.add_row("reason", Text(printable(decision.reason)))
    if decision.fallbacks:
        about.add_row("else", Text(", ".join(decision.fallbacks)))
    return Group(about, Text(), _signals(decision.signals)) if decision.signals else about


def _signals(signals: list[Signal]) -> Table:
    strongest = max(abs(signal.weight) for signal in signals) or 1.0
    made = Table.grid(padding=(0, 2))
    made.add_column(justify="right")
    made.add_column()
    made.add_column(overflow="fold")
    for signal in signals:
        style = "green" if signal.weight > 0 else "red"
        blocks = "█" * max(1, round(WIDEST * abs(signal.weight) / strongest))
        made.add_row(Text(f"{signal.weight:+.2f}", style), Text(blocks, style), Text(printable(signal.name)))
    return made


def _all_marks() -> list[Mark]:
    """Newest first."""
    found: list[Mark] = []
    with Api(load_settings()) as api:
        page = _page(api, None)
        found += page.data
        while page.has_more:
            page = _page(api, page.last_id)
            found += page.data
    return found


def _page(api: Api, after: str | None) -> _Marks:
    params = {"limit": str(PAGE)} | ({"after": after} if after else {})
    return decoded(api.ask("GET", "/v1/route/feedback", params=params), _Marks)


def _id(job: str) -> str:
    """Raises CannotRoute for what would lead elsewhere."""
    if not job.replace("-", "").isalnum():
        raise CannotRoute(f"'{printable(job)}' is no job: an answer's header X-FamilyAI-Job-Id says which it was")
    return job


def _given(text: str | None) -> str:
    if text != "-":
        return text or ""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise CannotRoute("what comes in is no text in UTF-8") from None


def _text_in(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CannotRoute(f"{path} is no text in UTF-8; for a picture: {own_command()} route --image") from None
    except OSError as error:
        raise CannotRoute(f"cannot read {path}: {error.strerror}") from error


def _data_url(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not kind.startswith("image/"):
        raise CannotRoute(f"{path} is no image by its ending; a text goes with --file")
    try:
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError as error:
        raise CannotRoute(f"cannot read {path}: {error.strerror}") from error
