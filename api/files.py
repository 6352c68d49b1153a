"""A member's files: uploaded once, for batches and transcription jobs, and what batches have produced."""

import asyncio
import logging
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from api.auth import CurrentMember
from api.broker import broker_errors
from api.filenames import attachment
from api.front import CurrentFront, Front
from api.multipart import Form, one_file, stored_form
from api.paging import After, page
from api.schemas import FileForm, form_body, refusals
from api.storage import storage_errors
from familyai.errors import BadRequest, NotFound
from familyai.files import File, file_blob, new_file, new_file_id

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/files", tags=["files"], responses=refusals(401, 503))

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals", "transcription")
SHORTEST_KEEP_S, LONGEST_KEEP_S = 3600, 30 * 24 * 3600
"""What clients may ask for, as at OpenAI; the household's retention may be shorter."""

_BYTES: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class FileObject(BaseModel):
    """A file, without its content."""

    id: str = Field(description="What requests call it.")
    object: Literal["file"] = "file"
    bytes: int = Field(description="Its size.")
    created_at: int = Field(description="When it was made, in Unix time.")
    expires_at: int = Field(description="When it will be deleted, in Unix time.")
    filename: str = Field(description="As it was uploaded.")
    purpose: str = Field(description="What it was uploaded for; `batch_output` for what a batch has produced.")
    status: Literal["processed"] = "processed"


class FileList(BaseModel):
    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


async def own_file(file_id: str, front: CurrentFront, member: CurrentMember) -> File:
    """Raises NotFound, for other people's files too, and Unavailable."""
    with broker_errors():
        return await front.files.get(file_id, member.name)


OwnFile = Annotated[File, Depends(own_file)]


@router.post("", summary="Upload a file", responses=refusals(400, 413, 507), openapi_extra=form_body(FileForm))
async def create_file(request: Request, front: CurrentFront, member: CurrentMember) -> FileObject:
    """Kept for as long as the household keeps things, or shorter with `expires_after`."""
    file_id, limit_bytes = new_file_id(), int(front.profile.limits.upload_mb * 1e6)
    files = frozenset({"file"})
    async with stored_form(request, front.blobs, limit_bytes, files, one_file(file_blob(file_id))) as form:
        file = _uploaded(form, member.name, file_id, front)
        with broker_errors():
            await front.files.put(file)
    log.info("a file came", extra={"action": "file.created", "file": file.id, "size_bytes": file.size_bytes})
    return _object(file)


@router.get("", summary="List files", responses=refusals(400))
async def list_files(
    front: CurrentFront,
    member: CurrentMember,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="The most files on one page.")] = 10_000,
    order: Annotated[Literal["asc", "desc"], Query(description="`desc` has the newest first.")] = "desc",
    purpose: Annotated[str | None, Query(description="Only files of this purpose.")] = None,
) -> FileList:
    """The member's own."""
    with broker_errors():
        files = await front.files.all(member.name)
    ordered = files if order == "desc" else files[::-1]
    some, has_more = page([file for file in ordered if purpose in (None, file.purpose)], after, limit)
    first, last = (some[0].id, some[-1].id) if some else (None, None)
    return FileList(data=[_object(file) for file in some], first_id=first, last_id=last, has_more=has_more)


@router.get("/{file_id}", summary="Retrieve a file", responses=refusals(404))
async def retrieve_file(file: OwnFile) -> FileObject:
    """What is known of a file."""
    return _object(file)


@router.get(
    "/{file_id}/content",
    summary="Download a file",
    response_class=StreamingResponse,
    responses={200: {"description": "The file's bytes.", "content": _BYTES}, **refusals(404)},
)
async def retrieve_file_content(file: OwnFile, front: CurrentFront) -> StreamingResponse:
    """Its content, as it was uploaded or produced."""
    size_bytes = await _size(file, front)
    headers = {"Content-Length": str(size_bytes), "Content-Disposition": attachment(file.filename)}
    headers["X-Content-Type-Options"] = "nosniff"
    return StreamingResponse(front.blobs.chunks(file.blob), media_type="application/octet-stream", headers=headers)


@router.delete("/{file_id}", summary="Delete a file", responses=refusals(404))
async def delete_file(file_id: str, front: CurrentFront, member: CurrentMember) -> FileDeleted:
    """At once. A batch that has still to read it fails."""
    with broker_errors():
        file = await front.files.delete(file_id, member.name)
    try:
        await front.blobs.delete(file.blob)
    except OSError as error:  # nobody can ask for it any more; the sweeper takes it
        log.warning("its content stays", extra={"action": "blob.not_deleted", "file": file.id, "reason": str(error)})
    return FileDeleted(id=file.id)


async def _size(file: File, front: Front) -> int:
    """Raises NotFound when it was deleted a moment ago, Unavailable."""
    with storage_errors():
        try:
            return await asyncio.to_thread(front.blobs.size, file.blob)
        except FileNotFoundError as error:
            raise NotFound(f"the content of '{file.id}' is gone", param="file_id", code="file_not_found") from error


def _uploaded(form: Form, member: str, file_id: str, front: Front) -> File:
    """Raises BadRequest."""
    if len(form.uploads) != 1:
        raise BadRequest("send one file, as `file`", param="file", code="missing_file")
    upload, purpose = form.uploads[0], form.get("purpose")
    if purpose not in PURPOSES:
        raise BadRequest(f"`purpose` must be one of: {', '.join(PURPOSES)}", param="purpose", code="invalid_value")
    anchor, seconds = form.get("expires_after[anchor]"), form.get("expires_after[seconds]")
    keep_s = kept_s(anchor, seconds, front.profile.limits.retention_h * 3600)
    return new_file(member, upload.filename or "file", purpose, upload.size_bytes, keep_s, file_id)


def kept_s(anchor: str | None, seconds: str | None, retention_s: float) -> float:
    """How long a file is kept whose owner asked for this. Raises BadRequest."""
    if anchor is None and seconds is None:
        return retention_s
    if anchor != "created_at":
        raise BadRequest("the anchor must be `created_at`", param="expires_after[anchor]", code="invalid_value")
    asked_s = int(seconds) if seconds and seconds.isdecimal() and len(seconds) < 10 else 0
    if not SHORTEST_KEEP_S <= asked_s <= LONGEST_KEEP_S:
        words = f"seconds must be a whole number from {SHORTEST_KEEP_S} to {LONGEST_KEEP_S}"
        raise BadRequest(words, param="expires_after[seconds]", code="invalid_value")
    return min(asked_s, retention_s)


def _object(file: File) -> FileObject:
    return FileObject(
        id=file.id,
        bytes=file.size_bytes,
        created_at=int(file.created_at_s),
        expires_at=int(file.expires_at_s),
        filename=file.filename,
        purpose=file.purpose,
    )
