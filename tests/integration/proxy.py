"""What may lie between a process and its broker: a line that is slow, silent, cut, or not there."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

CHUNK_BYTES = 65_536
MOST_CHUNKS = 64
"""Under way in one direction; who sends more has to wait, as on a real line."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: closing resets
_Late = asyncio.Queue[tuple[float, bytes]]


class Proxy:
    """Passes bytes between a port on loopback and a server's port, there and back.

    It has a thread of its own, so it works on while a test waits. Its methods may be called from any thread, return
    when it is done, and last until the opposite is asked for.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self._server_port = server_port
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._listening: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        """Listens on a `port` of its own, until the block ends."""
        thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        thread.start()
        self.accept()
        try:
            yield self
        finally:
            self.refuse()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def delay(self, seconds: float) -> None:
        """What comes from now on arrives so much later, either way."""
        self._delay_s = seconds

    def stall(self) -> None:
        """Connections stay, and new ones are made, but nothing passes."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def flow(self) -> None:
        """What was held up passes."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def reset(self) -> None:
        """Every connection breaks, on both sides; what was under way is lost. New ones are welcome."""
        self._do(self._reset())

    def refuse(self) -> None:
        """The same, and new ones are refused."""
        self._do(self._refuse())

    def accept(self) -> None:
        """Listens; again, on the same port."""
        self._do(self._accept())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _accept(self) -> None:
        self._listening = await asyncio.start_server(self._connect, "127.0.0.1", self.port, backlog=1024)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._listening is not None:
            self._listening.close()
        await self._reset()

    async def _reset(self) -> None:
        broken = list(self._lines)
        for task in broken:
            for writer in self._lines[task]:
                with suppress(OSError):  # it may have been closed this very moment
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            task.cancel()
        await asyncio.gather(*broken, return_exceptions=True)

    def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._lines[task] = [writer]
        task.add_done_callback(lambda _: self._lines.pop(task))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side has closed it."""
        try:
            await self._flows.wait()
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:  # no server: then there is nobody here either
            writer.transport.abort()
            return
        here = asyncio.current_task()
        assert here is not None
        self._lines[here].append(server_writer)
        await _first_of(self._carry(reader, server_writer), self._carry(server_reader, writer))
        writer.close()
        server_writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way, in order, until it is closed."""
        late: _Late = asyncio.Queue(MOST_CHUNKS)
        taking = asyncio.create_task(self._take(reader, late))
        try:
            await self._bring(late, writer)
        finally:
            taking.cancel()

    async def _take(self, reader: asyncio.StreamReader, late: _Late) -> None:
        chunk = b"the first"
        while chunk:
            try:
                chunk = await reader.read(CHUNK_BYTES)
            except OSError:
                chunk = b""
            await late.put((self._loop.time() + self._delay_s, chunk))

    async def _bring(self, late: _Late, writer: asyncio.StreamWriter) -> None:
        while True:
            due_s, chunk = await late.get()
            await asyncio.sleep(due_s - self._loop.time())
            await self._flows.wait()
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()


async def _first_of(*work: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends, by an error of its connection too; then the others end as well."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
