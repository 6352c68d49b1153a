"""Drives a batch from its input file to its output files.

Each status has its step, and each step may be begun again: what is done stands in the record, the results of lines in
the blob store, and only what was under way is lost with the process that drives. Then the files are made from the
results, in the order of the input: so each line is in them once, whatever died in between.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import msgspec

from api.call import Answered
from api.front import Front
from api.work.batch_files import error_parts, output_parts, write_file
from api.work.batch_input import InputCheck, Numbered, numbered_lines, read
from api.work.batch_lines import expired, line_job, lines_at_once, may_pass, refusal, result
from api.work.bounded import Piece, bounded
from api.work.dispatch import Dispatcher
from api.work.drive import tidy
from api.work.leader import Kind
from familyai import cancel
from familyai.batches import ENDED, Batch, Problem, Record, Status, Verdict, line_blob
from familyai.broker import BROKER_ERRORS
from familyai.errors import RequestError
from familyai.files import file_blob
from familyai.job import Job, new_job_id
from routing.lines import Line

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often a running batch asks whether it was cancelled, or its time is over."""
REST_S = 2.0


class BatchDriver:
    """Its methods raise redis-py's errors and OSError: then they may be called again."""

    def __init__(self, front: Front, dispatcher: Dispatcher) -> None:
        self._front = front
        self._store = front.batches
        self._dispatcher = dispatcher

    @property
    def kind(self) -> Kind:
        return Kind(self.drive, self.give_up, self.is_over, self.tidy_up)

    async def is_over(self, batch_id: str) -> bool:
        return await self._store.status(batch_id) in (None, *ENDED)

    async def give_up(self, batch_id: str, reason: str) -> None:
        await self._fail(batch_id, [Problem("internal_error", reason)])

    async def tidy_up(self, batch_id: str) -> None:
        """The results of its lines: its files hold them."""
        await tidy(self._front.blobs, f"batches/{batch_id}")

    async def drive(self, batch_id: str) -> None:
        steps = {
            Status.VALIDATING: self._validate,
            Status.IN_PROGRESS: self._answer_lines,
            Status.FINALIZING: self._write_files,
            Status.CANCELLING: self._write_files,
        }
        try:
            while (record := await self._store.find(batch_id)) is not None and record.status not in ENDED:
                await steps[record.status](record)
        except FileNotFoundError:
            words = "The input file, or a result, was deleted before the batch had ended."
            await self._fail(batch_id, [Problem("file_not_found", words)])

    async def _fail(self, batch_id: str, problems: list[Problem]) -> None:
        if await self._store.fail(batch_id, problems):
            self._ended(batch_id, Status.FAILED)

    def _ended(self, batch_id: str, status: Status) -> None:
        log.info("a batch ended", extra={"action": f"batch.{status}", "batch": batch_id})

    async def _validate(self, record: Record) -> None:
        check = InputCheck(record.batch.endpoint, self._front.profile.limits)
        async with aclosing(self._lines(record.batch)) as some:
            async for lines in some:
                await asyncio.to_thread(check.add, lines)
                if check.is_hopeless:
                    break
        check.end()
        if check.problems:
            await self._fail(record.id, check.problems)
        else:
            await self._store.begin(record.id, check.total)

    async def _answer_lines(self, record: Record) -> None:
        """Until all lines are done, or the batch is cancelled, or its time is over."""
        work = asyncio.create_task(self._answer_all(record.batch))
        stop = asyncio.create_task(self._until_stopped(record.batch))
        try:
            done, _ = await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await cancel.end([work, stop])
        await self._store.finalize(record.id)

    async def _until_stopped(self, batch: Batch) -> None:
        while time.time() < batch.expires_at_s:
            if await self._store.status(batch.id) is not Status.IN_PROGRESS:
                return
            await asyncio.sleep(LOOK_S)

    async def _answer_all(self, batch: Batch) -> None:
        async with aclosing(self._pieces(batch)) as pieces:
            await bounded(lines_at_once(batch.endpoint, self._front.profile), pieces)

    async def _pieces(self, batch: Batch) -> AsyncGenerator[Piece, None]:
        done = await self._store.marks(batch.id)
        async with aclosing(self._lines(batch)) as some:
            async for lines in some:
                for number, data in lines:
                    if number not in done:
                        yield partial(self._answer, batch, number, data)

    async def _answer(self, batch: Batch, number: int, data: bytes) -> None:
        line = await asyncio.to_thread(read, data, batch.endpoint, self._front.profile.limits)
        answered = await self._answered(batch, line)
        verdict, content = await asyncio.to_thread(result, batch, number, line.custom_id, answered)
        await self._keep(batch, number, verdict, content)

    async def _answered(self, batch: Batch, line: Line) -> Answered:
        """The engine's answer, or why there is none. Waits out what may pass: a full disk, a broker that is down."""
        while True:
            try:
                job = await line_job(self._front, batch, line.body)
                return await self._dispatcher.run(job.queue, batch.member, partial(_anew, job))
            except RequestError as error:
                if not may_pass(error):
                    return refusal(error, batch.endpoint)
                log.warning("a line waits", extra={"action": "batch.waits", "batch": batch.id, "reason": error.code})
            await asyncio.sleep(REST_S)

    async def _keep(self, batch: Batch, number: int, verdict: Verdict, content: bytes) -> None:
        """An answer was work: it is not thrown away for a disk that is full now."""
        while True:
            try:
                await self._front.blobs.put(line_blob(batch.id, number, verdict), content)
                await self._store.mark(batch.id, number, verdict)
            except BROKER_ERRORS as error:
                extra = {"action": "batch.not_kept", "batch": batch.id, "reason": type(error).__name__}
                log.warning("a result cannot be kept yet", extra=extra)
            else:
                return
            await asyncio.sleep(REST_S)

    async def _write_files(self, record: Record) -> None:
        batch, marks = record.batch, await self._store.marks(record.id)
        is_cancelled = record.status is Status.CANCELLING
        late = {} if is_cancelled or len(marks) == record.total else await self._late(batch, marks)
        output_id = await write_file(self._front, batch, "output", output_parts(batch.id, marks))
        error_id = await write_file(self._front, batch, "error", error_parts(batch.id, marks, late))
        status = Status.CANCELLED if is_cancelled else Status.EXPIRED if late else Status.COMPLETED
        if await self._store.end(batch.id, status, output_id, error_id):
            self._ended(batch.id, status)

    async def _late(self, batch: Batch, marks: dict[int, Verdict]) -> dict[int, bytes]:
        """The error file's lines for what was not answered in time."""
        late: dict[int, bytes] = {}
        async with aclosing(self._lines(batch)) as some:
            async for lines in some:
                left = [(number, data) for number, data in lines if number not in marks]
                late |= await asyncio.to_thread(self._expired, batch, left)
        return late

    def _expired(self, batch: Batch, lines: Numbered) -> dict[int, bytes]:
        limits = self._front.profile.limits
        return {number: expired(batch, number, read(data, batch.endpoint, limits).custom_id) for number, data in lines}

    def _lines(self, batch: Batch) -> AsyncGenerator[Numbered, None]:
        return numbered_lines(self._front.blobs, file_blob(batch.input_file_id), self._front.profile.limits)


def _anew(job: Job) -> Job:
    """Every try is a job of its own."""
    return msgspec.structs.replace(job, id=new_job_id(), created_at_s=time.time())
