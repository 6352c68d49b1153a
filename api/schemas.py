"""What the API's documentation says of bodies. Nothing here parses: engines read and refuse bodies themselves."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_MODEL = Field(
    description="A queue, an alias such as `auto`, or a model's own id; see `GET /v1/models`.", examples=["auto"]
)
_STREAM = Field(False, description="Send the answer as server-sent events while it is written.")
_TEMPERATURE = Field(None, ge=0, description="0 always takes the likeliest token; higher is more varied.")
_TOOLS = Field(None, description="Functions that the model may ask the caller to run.")

EVENTS: dict[str, Any] = {"text/event-stream": {}}
"""Without a schema: some read one as each event's, and OpenAPI 3.1 means the whole body."""


class _Request(BaseModel):
    """Parameters of the engine that are not listed here pass through."""

    model_config = ConfigDict(extra="allow")

    model: str = _MODEL


class ChatRequest(_Request):
    messages: list[dict[str, Any]] = Field(
        description="The conversation so far. Images, audio and video come as `data:` URLs.",
        examples=[[{"role": "user", "content": "What is the capital of France?"}]],
    )
    stream: bool = _STREAM
    stream_options: dict[str, Any] | None = Field(None, description="`include_usage` adds token counts at the end.")
    max_completion_tokens: int | None = Field(None, ge=1, description="Longest answer, in tokens.")
    max_tokens: int | None = Field(None, ge=1, description="The older name of `max_completion_tokens`.")
    temperature: float | None = _TEMPERATURE
    n: int = Field(1, ge=1, description="How many answers; it counts as so many slots of the model.")
    stop: str | list[str] | None = Field(None, description="Where to stop.")
    seed: int | None = Field(None, description="Makes sampling repeatable.")
    tools: list[dict[str, Any]] | None = _TOOLS
    response_format: dict[str, Any] | None = Field(None, description="JSON, or JSON of a given schema.")


class CompletionRequest(_Request):
    prompt: str | list[str] | list[int] | list[list[int]] = Field(
        description="Text or tokens to go on from, or a list of them.", examples=["Once upon a time"]
    )
    stream: bool = _STREAM
    max_tokens: int | None = Field(None, ge=1, description="Longest answer, in tokens.")
    temperature: float | None = _TEMPERATURE
    n: int = Field(1, ge=1, description="How many answers to each prompt.")
    stop: str | list[str] | None = Field(None, description="Where to stop.")


class ResponsesRequest(_Request):
    input: str | list[dict[str, Any]] = Field(
        description="A text, or the whole conversation as items.", examples=["Hello"]
    )
    instructions: str | None = Field(None, description="What the model shall keep to.")
    stream: bool = _STREAM
    max_output_tokens: int | None = Field(None, ge=1, description="Longest answer, in tokens.")
    temperature: float | None = _TEMPERATURE
    tools: list[dict[str, Any]] | None = _TOOLS


class MessagesRequest(_Request):
    messages: list[dict[str, Any]] = Field(
        description="The conversation so far.", examples=[[{"role": "user", "content": "Hello"}]]
    )
    max_tokens: int = Field(ge=1, description="Longest answer, in tokens.", examples=[256])
    system: str | list[dict[str, Any]] | None = Field(None, description="What the model shall keep to.")
    stream: bool = _STREAM
    temperature: float | None = _TEMPERATURE
    tools: list[dict[str, Any]] | None = _TOOLS


class CountTokensRequest(_Request):
    messages: list[dict[str, Any]] = Field(
        description="The conversation.", examples=[[{"role": "user", "content": "Hi"}]]
    )
    system: str | list[dict[str, Any]] | None = Field(None, description="What the model shall keep to.")
    tools: list[dict[str, Any]] | None = _TOOLS


class EmbeddingsRequest(_Request):
    input: str | list[str] | list[int] | list[list[int]] = Field(
        description="Text or tokens to embed, or a list of them.", examples=[["first", "second"]]
    )
    encoding_format: str = Field("float", description="`float` or `base64`.")
    dimensions: int | None = Field(None, ge=1, description="Length of the vectors, where the model can shorten them.")


class SpeechRequest(BaseModel):
    """Parameters of the engine that are not listed here pass through."""

    model_config = ConfigDict(extra="allow")

    input: str = Field(description="What to speak, however long.", examples=["Dinner is ready."])
    model: str | None = Field(None, description="A queue or an alias such as `tts-1`; empty: the household's.")
    voice: str | None = Field(
        None, description="An installed voice, or one of OpenAI's names; see `GET /v1/audio/voices`."
    )
    response_format: str = Field(
        "mp3", description="`mp3`, `opus`, `aac`, `flac`, `wav` or `pcm` (24 kHz, 16 bit, mono)."
    )
    speed: float = Field(1, ge=0.25, le=4, description="2 is twice as fast.")
    stream_format: str = Field("audio", description="`audio`: the bytes as they come; `sse`: as server-sent events.")


class TranscriptionForm(BaseModel):
    file: bytes = Field(
        description="The recording, in any format that FFmpeg reads.", json_schema_extra={"format": "binary"}
    )
    model: str | None = Field(None, description="A queue or an alias such as `whisper-1`; empty: the household's.")
    language: str | None = Field(None, description="Of the recording, as `en` or `english`; empty: it is recognised.")
    prompt: str | None = Field(None, description="Words and names that occur in it, to be spelled so.")
    response_format: str = Field("json", description="`json`, `text`, `srt`, `vtt` or `verbose_json`.")
    temperature: float | None = Field(None, ge=0, le=1, description="0 always takes the likeliest words.")
    timestamp_granularities: list[str] | None = Field(
        None, alias="timestamp_granularities[]", description="`segment` and `word`, with `verbose_json`."
    )
    stream: bool = Field(False, description="Send the text as server-sent events while it is recognised.")


class FileForm(BaseModel):
    file: bytes = Field(description="The file.", json_schema_extra={"format": "binary"})
    purpose: str = Field(
        description="`batch` for what `/v1/batches` reads, `transcription` for recordings; "
        "`assistants`, `fine-tune`, `vision`, `user_data` and `evals` as at OpenAI."
    )
    anchor: str | None = Field(None, alias="expires_after[anchor]", description="`created_at`.")
    seconds: int | None = Field(
        None, alias="expires_after[seconds]", ge=3600, le=2592000, description="How long after that it is kept."
    )


class Problem(BaseModel):
    message: str = Field(description="What is wrong, for a person.")
    type: str = Field(description="`invalid_request_error`, `server_error` or `service_unavailable`.")
    param: str | None = Field(description="The parameter at fault, as a path: `messages[0].content[1].image_url.url`.")
    code: str | None = Field(description="What is wrong, for a program: `model_not_found`, `no_worker`, ...")


class ErrorEnvelope(BaseModel):
    """OpenAI's error body, whatever failed."""

    error: Problem


class AnthropicProblem(BaseModel):
    type: str = Field(description="Anthropic's name of the status, such as `overloaded_error`.")
    message: str = Field(description="What is wrong, for a person.")


class AnthropicEnvelope(BaseModel):
    """Anthropic's error body, on the paths under `/v1/messages`."""

    type: str = "error"
    error: AnthropicProblem


_REASONS = {
    400: "The request cannot be served as it is; `param` names the parameter.",
    401: "No key, a wrong key, or the key of a removed member.",
    403: "Not this member's to do, or not now.",
    404: "There is no such model; the message lists those there are.",
    410: "Taken back while it waited or ran: `DELETE /v1/jobs/{id}`.",
    413: "The body is over its limit.",
    415: "The body is compressed.",
    429: "A limit is reached; `Retry-After` says when asking again may help.",
    500: "The engine failed.",
    507: "The household's disk is full.",
    503: "May work later (`Retry-After`): broker down, no worker for this model, waited too long, or a worker died.",
}


def refusals(*statuses: int, envelope: type[BaseModel] = ErrorEnvelope) -> dict[int | str, dict[str, Any]]:
    """The error responses of an operation, for its `responses`."""
    told: dict[int | str, dict[str, Any]] = {"default": {"model": envelope, "description": "Any other failure."}}
    return told | {status: {"model": envelope, "description": _REASONS[status]} for status in statuses or _REASONS}


def form_body(schema: type[BaseModel]) -> dict[str, Any]:
    """The multipart form of an operation, for its `openapi_extra`."""
    content = {"multipart/form-data": {"schema": schema.model_json_schema(by_alias=True)}}
    return {"requestBody": {"required": True, "content": content}}


def json_body(schema: type[BaseModel]) -> dict[str, Any]:
    """The request body of an operation, for its `openapi_extra`."""
    content = {"application/json": {"schema": schema.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}
