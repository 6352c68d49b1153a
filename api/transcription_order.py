"""What a client asks of a transcription job, out of a form or of JSON, checked. Pure."""

from dataclasses import dataclass
from typing import Any, cast, get_args

from pydantic import BaseModel, Field

from api.multipart import Form
from api.work.webhook import check_url
from familyai.catalogue import Profile, Task
from familyai.errors import BadRequest
from familyai.languages import language_code
from familyai.limits import Limits
from familyai.transcription import Format
from routing.admit import check_task
from routing.resolve import resolve

FORMATS: tuple[Format, ...] = get_args(Format)
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"", "false", "0", "no", "off"})
_FIELDS = ("model", "language", "word_timestamps", "webhook_url")
_LISTS = ("formats", "file_ids")


@dataclass(frozen=True)
class Wish:
    """`language` is a code; `formats` has each format once, `file_ids` each file as often as it was named."""

    model: str
    language: str | None
    formats: tuple[Format, ...]
    word_timestamps: bool
    webhook_url: str | None
    file_ids: tuple[str, ...]


class TranscriptionJobRequest(BaseModel):
    """As JSON: recordings that were uploaded before."""

    file_ids: list[str] = Field(description="Ids of the member's files; as a form also with commas, and repeated.")
    formats: list[Format] = Field(["txt"], description="The results: `txt`, `srt`, `vtt`, `json`.")
    language: str | None = Field(None, description="Of all recordings, as `en` or `english`; empty: recognised.")
    word_timestamps: bool = Field(False, description="Times of words, too, in `json`.")
    webhook_url: str | None = Field(None, description="Called when the job ends, where the household allows it.")
    model: str | None = Field(None, description="A queue or an alias such as `whisper-1`; empty: the household's.")


class TranscriptionJobForm(TranscriptionJobRequest):
    """As a form: recordings that come with it, ids of files, or both."""

    files: list[bytes] = Field([], description="The recordings, repeated, in any format that FFmpeg reads.")
    file_ids: list[str] = Field([], description="Ids of the member's files, repeated or with commas between them.")
    formats: str = Field("txt", description="`txt`, `srt`, `vtt`, `json`, with commas between them.")  # type: ignore[assignment]


def wish_of_form(form: Form, profile: Profile) -> Wish:
    """Raises BadRequest, and NotFound for an unknown model."""
    fields: dict[str, Any] = {name: form.get(name) for name in _FIELDS}
    return wish_of(fields | {name: form.all(name) for name in _LISTS}, profile)


def wish_of(body: dict[str, Any], profile: Profile) -> Wish:
    """Raises BadRequest, and NotFound for an unknown model."""
    language = _text(body, "language")
    return Wish(
        model=_model(_text(body, "model"), profile),
        language=_language(language) if language else None,
        formats=_formats(_words(body, "formats")),
        word_timestamps=_truth(body, "word_timestamps"),
        webhook_url=_webhook(_text(body, "webhook_url"), profile.limits),
        file_ids=tuple(_words(body, "file_ids")),
    )


def check_count(count: int, limits: Limits) -> None:
    """Raises BadRequest for a job without recordings, or with too many."""
    if not count:
        raise BadRequest(
            "send recordings as `files`, or ids of files as `file_ids`", param="files", code="missing_file"
        )
    if count > limits.transcription_files:
        most = limits.transcription_files
        raise BadRequest(f"a job holds at most {most} recordings: send several", param="files", code="too_many_files")


def _model(name: str | None, profile: Profile) -> str:
    target = resolve(name, profile, Task.TRANSCRIBE)
    check_task(Task.TRANSCRIBE, target, profile)
    return name or target.queue


def _language(word: str) -> str:
    code = language_code(word)
    if code is None:
        words = f"there is no language '{word[:32]}': send a code such as `en`, or an English name"
        raise BadRequest(words, param="language", code="unknown_language")
    return code


def _formats(words: list[str]) -> tuple[Format, ...]:
    for word in words:
        if word not in FORMATS:
            known = ", ".join(FORMATS)
            raise BadRequest(
                f"there is no format '{word[:32]}'; there are: {known}", param="formats", code="unknown_format"
            )
    return tuple(dict.fromkeys(cast(list[Format], words))) or ("txt",)


def _webhook(url: str | None, limits: Limits) -> str | None:
    if url:
        check_url(url, limits.webhook_hosts)
    return url or None


def _truth(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else None
    if word not in _TRUE | _FALSE:
        raise BadRequest(f"`{name}` must be true or false", param=name, code="invalid_value")
    return word in _TRUE


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"`{name}` must be a string", param=name, code="invalid_value")
    return value.strip() if value else None


def _words(body: dict[str, Any], name: str) -> list[str]:
    """A list, each item of which may be a list with commas."""
    value = body.get(name)
    items = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in items):
        raise BadRequest(f"`{name}` must be a list of strings", param=name, code="invalid_value")
    return [word for item in items for part in item.split(",") if (word := part.strip())]
