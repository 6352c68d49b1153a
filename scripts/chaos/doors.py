"""The fronts, as a client of one member sees them: doors, of which some are shut now and then."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

CONNECT_S = 5.0
RETRY_S = 0.25


class Refused(Exception):
    """A status other than 200. `code`: the error's own."""

    def __init__(self, status: int, body: bytes, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status, self.body, self.code = status, body, code


class Doors:
    """Asks them by number, from 0. Answers may take any time: whoever asks sets the limit."""

    def __init__(self, http: httpx.AsyncClient, urls: Sequence[str], api_key: str, dice: random.Random) -> None:
        self._http, self._urls, self._dice = http, urls, dice
        self._headers = {"authorization": f"Bearer {api_key}"}

    def any(self) -> int:
        return self._dice.randrange(len(self._urls))

    def other(self, door: int) -> int:
        return (door + 1) % len(self._urls)

    async def open_one(self) -> int:
        """Any at which somebody listens, as soon as there is one."""
        door = self.any()
        while True:
            try:
                await self.once(door, "GET", "/health")
                return door
            except httpx.TransportError:
                door = self.other(door)
                await asyncio.sleep(RETRY_S)

    @asynccontextmanager
    async def open(self, door: int, method: str, path: str, **more: Any) -> AsyncIterator[httpx.Response]:
        """Raises Refused, and httpx.TransportError where the connection breaks or there is none."""
        headers = self._headers | more.pop("headers", {})
        async with self._http.stream(method, self._urls[door] + path, headers=headers, **more) as response:
            if response.status_code != 200:
                body = await response.aread()
                raise Refused(response.status_code, body, _code(response))
            yield response

    async def once(self, door: int, method: str, path: str, **more: Any) -> bytes:
        """The whole body. Raises as `open` does."""
        async with self.open(door, method, path, **more) as response:
            return await response.aread()

    async def until_told(self, path: str) -> bytes:
        """GET at one door after the other, until one has an answer. Raises Refused for one that is no 503."""
        door = self.any()
        while True:
            try:
                return await self.once(door, "GET", path)
            except httpx.TransportError:
                pass
            except Refused as refused:
                if refused.status != 503:
                    raise
            door = self.other(door)
            await asyncio.sleep(RETRY_S)


def new_http() -> httpx.AsyncClient:
    """For all clients; it keeps as many connections as they need."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    timeout = httpx.Timeout(None, connect=CONNECT_S)
    return httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)


def _code(response: httpx.Response) -> str:
    try:
        error = response.json().get("error", {})
        return str(error.get("code") or error.get("type"))
    except (ValueError, AttributeError):
        return f"status {response.status_code}"
