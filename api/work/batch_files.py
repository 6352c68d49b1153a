"""The files that a batch leaves behind, gathered from the results of its lines."""

import asyncio
import shutil

from api.front import Front
from api.work.batch_lines import derived_id
from familyai.batches import Batch, Verdict, line_blob
from familyai.blobs import CHUNK_BYTES, BlobStore
from familyai.files import file_blob, new_file

Part = str | bytes
"""A blob's name, or the content itself."""


def output_parts(batch_id: str, marks: dict[int, Verdict]) -> list[Part]:
    """In the order of the input."""
    return [line_blob(batch_id, number, verdict) for number, verdict in marks.items() if verdict is Verdict.COMPLETED]


def error_parts(batch_id: str, marks: dict[int, Verdict], late: dict[int, bytes]) -> list[Part]:
    """In the order of the input: what failed, and what came too late."""
    failed: dict[int, Part] = {
        number: line_blob(batch_id, number, mark) for number, mark in marks.items() if mark is Verdict.FAILED
    }
    return [part for _, part in sorted({**failed, **late}.items())]


async def write_file(front: Front, batch: Batch, kind: str, parts: list[Part]) -> str | None:
    """The file's id, the same however often it is written; None for one that would be empty.

    Raises FileNotFoundError when a part is gone, OSError, and redis-py's errors.
    """
    if not parts:
        return None
    file_id = derived_id("file-", batch.id, kind)
    size_bytes = await asyncio.to_thread(_gather, front.blobs, file_blob(file_id), parts)
    filename = f"{batch.id}_{kind}.jsonl"
    await front.files.put(new_file(batch.member, filename, "batch_output", size_bytes, batch.output_keep_s, file_id))
    return file_id


def _gather(blobs: BlobStore, name: str, parts: list[Part]) -> int:
    with blobs.create(name) as file:
        for part in parts:
            if isinstance(part, bytes):
                file.write(part)
                continue
            with blobs.open(part) as piece:
                shutil.copyfileobj(piece, file, CHUNK_BYTES)
    return blobs.size(name)
