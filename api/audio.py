"""Speech in, speech out: OpenAI's audio endpoints.

A recording goes straight into the blob store, on to the engine by reference, and is deleted when its job has ended.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from api.answer import Answer
from api.asking import AskingMember
from api.auth import counted_guest
from api.failures import Dialect
from api.front import CurrentFront
from api.generate import HEADERS, Answering
from api.multipart import Form, one_file, stored_form
from api.relay import Relay
from api.schemas import EVENTS, SpeechRequest, TranscriptionForm, form_body, json_body, refusals
from api.submit import client_fields, form_job, route_path
from api.voices import CurrentVoices
from api.wishes import CurrentWishes, Detached
from familyai.allowance import Allowance
from familyai.catalogue import Profile, Task
from familyai.errors import BadRequest
from familyai.job import Blob, new_job_id, own_blob
from routing.admit import check_task
from routing.decide import Decision, named
from routing.resolve import names, resolve

router = APIRouter(prefix="/v1/audio", tags=["audio"])

_BYTES = {"type": "string", "format": "binary"}
_TEXT: dict[str, Any] = {
    "application/json": {"schema": {"type": "object"}},
    "text/plain": {"schema": {"type": "string"}},
    "text/vtt": {"schema": {"type": "string"}},
    **EVENTS,
}
_SOUND: dict[str, Any] = {
    **{f"audio/{kind}": {"schema": _BYTES} for kind in ("mpeg", "ogg", "aac", "flac", "wav", "pcm")},
    **EVENTS,
}


def _answers(content: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    success = {
        "description": "The engine's answer, unchanged but for the `id` of events.",
        "headers": HEADERS,
        "content": content,
    }
    return {200: success, **refusals(400, 401, 403, 404, 410, 413, 429, 500, 503, 507)}


async def transcribing(
    request: Request, front: CurrentFront, member: AskingMember, wishes: CurrentWishes, detached: Detached
) -> Relay:
    """Raises RequestError; nothing of the upload stays then."""
    job_id, limit_bytes = new_job_id(), int(front.profile.limits.upload_mb * 1e6)
    files = frozenset({"file"})
    async with stored_form(request, front.blobs, limit_bytes, files, one_file(own_blob(job_id))) as form:
        decision = _decision(form, front.profile, member.allowance(front.profile.roles))
        fields = client_fields(form.fields)
        audio = Blob(own_blob(job_id), 0, form.uploads[0].size_bytes)
        job = form_job(
            front,
            route_path(request),
            member.name,
            decision.target,
            fields,
            audio,
            job_id=job_id,
            priority=wishes.priority,
            deadline_s=wishes.deadline_s,
        )
        answer = Answer(job, decision.target.queue, Dialect.OPENAI, route=decision.header)
        return Relay(front, member, job, answer, is_detached=detached)


def _decision(form: Form, profile: Profile, allowance: Allowance) -> Decision:
    if len(form.uploads) != 1:
        raise BadRequest("send one recording, as `file`", param="file", code="missing_file")
    name = form.get("model")
    target = resolve(name, profile, Task.TRANSCRIBE)
    check_task(Task.TRANSCRIBE, target, profile)
    return named(name, target, allowance)


Transcribed = Annotated[Relay, Depends(transcribing)]
Spoken = Annotated[Relay, Depends(Answering(Task.SPEAK))]


@router.post(
    "/transcriptions",
    summary="Transcribe a recording",
    responses=_answers(_TEXT),
    openapi_extra=form_body(TranscriptionForm),
)
async def create_transcription(answer: Transcribed) -> Relay:
    """What is said in a recording, in its own language. With `stream`, as it is recognised."""
    return answer


@router.post(
    "/translations",
    summary="Translate a recording into English",
    responses=_answers(_TEXT),
    openapi_extra=form_body(TranscriptionForm),
)
async def create_translation(answer: Transcribed) -> Relay:
    """What is said in a recording, in English."""
    return answer


@router.post(
    "/speech",
    summary="Speak a text",
    response_class=Response,
    responses=_answers(_SOUND),
    openapi_extra=json_body(SpeechRequest),
)
async def create_speech(answer: Spoken) -> Relay:
    """The text, spoken; its first sentence is sent while the others are still being spoken."""
    return answer


class Named(BaseModel):
    id: str = Field(description="What requests call it.")
    name: str = Field(description="What people call it.")


class VoiceList(BaseModel):
    voices: list[Named]


class SpeechModelList(BaseModel):
    models: list[Named]


@router.get("/voices", summary="List voices", responses=refusals(429), dependencies=[Depends(counted_guest)])
async def list_voices(front: CurrentFront, voices: CurrentVoices) -> VoiceList:
    """Names only, and without a key: chat interfaces ask for them so."""
    return VoiceList(voices=[Named(id=voice, name=voice) for voice in await voices.names(front)])


@router.get("/models", summary="List models that speak")
async def list_speech_models(front: CurrentFront) -> SpeechModelList:
    """Names only, and without a key: chat interfaces ask for them so."""
    profile = front.profile
    speaking = [name for name in names(profile) if Task.SPEAK in resolve(name, profile, Task.SPEAK).model.tasks]
    return SpeechModelList(models=[Named(id=name, name=name) for name in speaking])
