"""OpenAI's transcription form: what may stand in it, and what an answer looks like in each format."""

from typing import Annotated, Any, BinaryIO, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from familyai import transcript
from familyai.errors import BadRequest
from familyai.languages import language_code
from familyai.transcript import Task, Transcript
from workers.speech.listen import Order

GRANULARITIES = "timestamp_granularities"


def _known_language(word: str) -> str:
    if code := language_code(word):
        return code
    raise ValueError("is not a language known here; send an ISO-639-1 code, like 'en'")


class TranscriptionForm(BaseModel):
    """OpenAI's fields; those for other models (`include[]`, `chunking_strategy`, …) are let pass and mean nothing.

    `precut` is for a recording that we have cut ourselves: it is one window. The front lets no client say so.
    """

    language: Annotated[str, AfterValidator(_known_language)] | None = None
    prompt: str | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: float | None = Field(None, ge=0, le=1)
    timestamp_granularities: list[Literal["word", "segment"]] = []
    stream: bool = False
    precut: bool = False

    @property
    def words(self) -> bool:
        return "word" in self.timestamp_granularities

    @property
    def segments(self) -> bool:
        return not self.timestamp_granularities or "segment" in self.timestamp_granularities

    def order(self, task: Task) -> Order:
        language = self.language if task == "transcribe" or self.precut else None
        return Order(language, task, self.prompt, self.temperature, self.words, self.precut)


async def read_form(request: Request) -> tuple[BinaryIO, TranscriptionForm]:
    """The file, on disk if it is large, and the wishes. Raises BadRequest, OSError when the disk is full."""
    try:
        form = await request.form(max_files=1)
    except MultiPartException as error:
        raise BadRequest(f"the form cannot be read: {error.message}") from error
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise BadRequest("a multipart form with the recording in its field 'file' is required", param="file")
    return file.file, parse(form)


def parse(form: FormData) -> TranscriptionForm:
    """Raises BadRequest that names the parameter."""
    fields: dict[str, Any] = {name: value for name, value in form.items() if isinstance(value, str) and value}
    fields[GRANULARITIES] = [*form.getlist(GRANULARITIES), *form.getlist(f"{GRANULARITIES}[]")]
    try:
        asked = TranscriptionForm.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error) from error
    _check(asked)
    return asked


def _refusal(error: ValidationError) -> BadRequest:
    first = error.errors()[0]
    param = str(first["loc"][0])
    words = first["msg"].removeprefix("Value error, ")
    return BadRequest(f"{param}: {words}", param=param)


def _check(asked: TranscriptionForm) -> None:
    if asked.timestamp_granularities and asked.response_format != "verbose_json":
        raise BadRequest(f"{GRANULARITIES} needs response_format 'verbose_json'", param=GRANULARITIES)
    if asked.stream and asked.response_format not in ("json", "text"):
        raise BadRequest("a stream is given as 'json' or 'text' only", param="response_format")


def answer(spoken: Transcript, asked: TranscriptionForm) -> Response:
    """The transcript in the format asked for."""
    match asked.response_format:
        case "json":
            return JSONResponse({"text": transcript.text(spoken), "usage": transcript.usage(spoken.duration)})
        case "verbose_json":
            return JSONResponse(transcript.verbose_json(spoken, words=asked.words, segments=asked.segments))
        case "vtt":
            return Response(_ended(transcript.vtt(spoken)), media_type="text/vtt")
        case "srt":
            return PlainTextResponse(_ended(transcript.srt(spoken)))
        case _:
            return PlainTextResponse(_ended(transcript.text(spoken)))


def _ended(text: str) -> str:
    return text.rstrip("\n") + "\n"
