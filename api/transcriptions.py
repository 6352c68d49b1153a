"""Transcription jobs: a folder of recordings in, transcripts out, however long it takes."""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from api.archive import archive
from api.asking import AskingMember
from api.auth import CurrentMember
from api.body import parse, read_body
from api.broker import broker_errors
from api.events import after, events
from api.filenames import attachment
from api.front import CurrentFront, Front
from api.multipart import Upload, stored_form
from api.paging import After, page
from api.schemas import EVENTS, refusals
from api.storage import storage_errors
from api.transcription_object import (
    PATH,
    TranscriptionJob,
    TranscriptionJobDeleted,
    TranscriptionJobList,
    shown,
)
from api.transcription_order import (
    FORMATS,
    TranscriptionJobForm,
    TranscriptionJobRequest,
    Wish,
    check_count,
    wish_of,
    wish_of_form,
)
from api.work.drive import retention_s
from api.work.results import FORMATS as MEDIA_TYPES
from api.work.results import audio_blob, result_blob
from api.work.transcriptions import delete, end
from familyai.catalogue import Task
from familyai.errors import NotFound
from familyai.filenames import stems
from familyai.members import Member
from familyai.transcription import Format, Order, Record, Source
from familyai.transcriptions import TranscriptionStore
from routing.resolve import check_model, resolve

log = logging.getLogger(__name__)

router = APIRouter(prefix=PATH, tags=["transcription jobs"], responses=refusals(401, 503))

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": TranscriptionJobForm.model_json_schema()},
            "application/json": {"schema": TranscriptionJobRequest.model_json_schema()},
        },
    }
}
_ZIP: dict[str, Any] = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
_RESULT: dict[str, Any] = {media_type.partition(";")[0]: {"schema": {}} for media_type in MEDIA_TYPES.values()}


async def current_store(front: CurrentFront) -> TranscriptionStore:
    return TranscriptionStore(front.redis)


CurrentStore = Annotated[TranscriptionStore, Depends(current_store)]


async def own_record(job_id: str, store: CurrentStore, member: CurrentMember) -> Record:
    """Raises NotFound, for other people's jobs too, and Unavailable."""
    with broker_errors():
        return await store.get(job_id, member.name)


OwnRecord = Annotated[Record, Depends(own_record)]


@router.post("", summary="Transcribe recordings", responses=refusals(400, 404, 413, 507), openapi_extra=_BODY)
async def create_transcription_job(
    request: Request, front: CurrentFront, store: CurrentStore, member: AskingMember
) -> TranscriptionJob:
    """At batch priority: voice input in a chat never waits behind it. The answer does not wait for the transcripts."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        wish = wish_of(parse(await read_body(request, front)), front.profile)
        return await _create(_new_id(), wish, [], front, store, member)
    job_id, limit_bytes = _new_id(), int(front.profile.limits.upload_mb * 1e6)
    names = _audio_blobs(job_id, front)
    async with stored_form(request, front.blobs, limit_bytes, frozenset({"files", "files[]"}), names.__next__) as form:
        wish = wish_of_form(form, front.profile)
        return await _create(job_id, wish, form.uploads, front, store, member)


@router.get("", summary="List transcription jobs", responses=refusals(400))
async def list_transcription_jobs(
    store: CurrentStore,
    member: CurrentMember,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100, description="The most jobs on one page.")] = 20,
) -> TranscriptionJobList:
    """The member's own, newest first."""
    with broker_errors():
        ids, has_more = page([_Listed(job_id) for job_id in await store.ids(member.name)], after, limit)
        records = await store.records(member.name, [listed.id for listed in ids])
    first, last = (records[0].id, records[-1].id) if records else (None, None)
    now_s = time.time()
    return TranscriptionJobList(
        data=[shown(record, now_s) for record in records], first_id=first, last_id=last, has_more=has_more
    )


@router.get("/{job_id}", summary="Retrieve a transcription job", responses=refusals(404))
async def retrieve_transcription_job(record: OwnRecord) -> TranscriptionJob:
    """How far it is, and where its results are."""
    return shown(record, time.time())


@router.post("/{job_id}/cancel", summary="Cancel a transcription job", responses=refusals(404))
async def cancel_transcription_job(record: OwnRecord, front: CurrentFront, store: CurrentStore) -> TranscriptionJob:
    """What is completed stays. A job that has ended already is answered as it is."""
    with broker_errors():
        if not record.is_over:
            await end(front, store, record, "cancelled")
        return shown(await store.get(record.id, record.order.member), time.time())


@router.delete("/{job_id}", summary="Delete a transcription job", responses=refusals(404))
async def delete_transcription_job(
    record: OwnRecord, front: CurrentFront, store: CurrentStore
) -> TranscriptionJobDeleted:
    """Cancels it first. Its recordings and results go with it; files that were uploaded before stay."""
    with broker_errors():
        await delete(front, store, record)
    return TranscriptionJobDeleted(id=record.id)


@router.get(
    "/{job_id}/events",
    summary="Follow a transcription job",
    response_class=StreamingResponse,
    responses={200: {"description": "Its events, up to its end.", "content": EVENTS}, **refusals(400, 404)},
)
async def follow_transcription_job(
    record: OwnRecord, front: CurrentFront, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Replayed from the start, or from after `Last-Event-ID`, then as they happen."""
    stream = events(front.broker_url, record.id, after(last_event_id), front.stopping)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


@router.get(
    "/{job_id}/results.zip",
    summary="Download all results",
    response_class=StreamingResponse,
    responses={200: {"description": "What is completed so far.", "content": _ZIP}, **refusals(404)},
)
async def retrieve_transcription_results(record: OwnRecord, front: CurrentFront) -> StreamingResponse:
    """One archive, each result under its recording's name."""
    entries = [
        (f"{name}.{format_name}", result_blob(record.id, n, format_name))
        for n, name in enumerate(_stems(record))
        if record.recordings[n].status == "completed"
        for format_name in record.order.formats
    ]
    headers = {"Content-Disposition": attachment(f"{record.id}.zip")}
    pieces = archive(front.blobs, entries, record.ended_at_s or record.order.created_at_s)
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


@router.get(
    "/{job_id}/files/{index}/{format_name}",
    summary="Download one result",
    response_class=StreamingResponse,
    responses={200: {"description": "The transcript.", "content": _RESULT}, **refusals(404)},
)
async def retrieve_transcription_result(
    index: int, format_name: str, record: OwnRecord, front: CurrentFront
) -> StreamingResponse:
    """One recording in one format."""
    found = _asked_format(record, index, format_name)
    blob = result_blob(record.id, index, found)
    with storage_errors():
        try:
            size_bytes = await asyncio.to_thread(front.blobs.size, blob)
        except FileNotFoundError as error:
            raise NotFound("this result is gone", code="result_not_found") from error
    headers = {"Content-Length": str(size_bytes), "X-Content-Type-Options": "nosniff"}
    headers["Content-Disposition"] = attachment(f"{_stems(record)[index]}.{found}")
    return StreamingResponse(front.blobs.chunks(blob), media_type=MEDIA_TYPES[found], headers=headers)


class _Listed(NamedTuple):
    id: str


async def _create(
    job_id: str, wish: Wish, uploads: list[Upload], front: Front, store: TranscriptionStore, member: Member
) -> TranscriptionJob:
    """Raises RequestError."""
    check_count(len(uploads) + len(wish.file_ids), front.profile.limits)
    check_model(member.allowance(front.profile.roles), resolve(wish.model, front.profile, Task.TRANSCRIBE))
    with broker_errors():
        order = Order(
            id=job_id,
            member=member.name,
            model=wish.model,
            language=wish.language,
            formats=wish.formats,
            word_timestamps=wish.word_timestamps,
            webhook_url=wish.webhook_url,
            created_at_s=time.time(),
            sources=(
                *(Source(upload.filename or f"recording-{n}") for n, upload in enumerate(uploads, 1)),
                *[await _own_file(file_id, front, member) for file_id in wish.file_ids],
            ),
        )
        await store.create(order)
    extra = {"action": "transcription.created", "transcription": job_id, "files": len(order.sources)}
    log.info("recordings are to be transcribed", extra=extra)
    return shown(Record.new(order), time.time())


async def _own_file(file_id: str, front: Front, member: Member) -> Source:
    """One of the member's files, kept for the job. Raises NotFound."""
    file = await front.files.get(file_id, member.name)
    await front.files.keep(file, time.time() + retention_s(front))
    return Source(file.filename, file_id)


def _asked_format(record: Record, index: int, format_name: str) -> Format:
    """Raises NotFound that says what is not there: the file, the format, or the result yet."""
    if not 0 <= index < len(record.recordings):
        raise NotFound(f"this job has {len(record.recordings)} files, from 0", param="index", code="file_not_found")
    found = next((name for name in record.order.formats if name == format_name), None)
    if found is None:
        asked = ", ".join(record.order.formats)
        unknown = "" if format_name in FORMATS else f"; there are: {', '.join(FORMATS)}"
        raise NotFound(f"this job makes: {asked}{unknown}", param="format_name", code="format_not_asked_for")
    status = record.recordings[index].status
    if status != "completed":
        raise NotFound(f"there is no result: the file is {status}", param="index", code="result_not_found")
    return found


def _stems(record: Record) -> list[str]:
    return stems(source.filename for source in record.order.sources)


def _new_id() -> str:
    return f"transcription-{uuid.uuid4().hex}"


def _audio_blobs(job_id: str, front: Front) -> Iterator[str]:
    """Names for uploads, one after the other. Raises BadRequest for one too many before it is read."""
    for n in range(front.profile.limits.transcription_files):
        yield audio_blob(job_id, n)
    check_count(front.profile.limits.transcription_files + 1, front.profile.limits)
