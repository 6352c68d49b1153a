"""Streams of known words, read by several clients at the same time."""

import asyncio
import json
from typing import Any

import httpx

from workers.engines.echo import expected_words

TOKENS_PER_S = 20
LIMIT_S = 90


def chat(text: str, words: int, **more: Any) -> dict[str, Any]:
    """A request whose answer is that text, over and over, as a stream of so many words."""
    body = {"model": "chat-fast", "messages": [{"role": "user", "content": text}], "max_tokens": words}
    return body | {"ignore_eos": True, "stream": True, "echo": {"tokens_per_s": TOKENS_PER_S}} | more


class Stream:
    """One client's answer, as it comes."""

    def __init__(self, client: httpx.AsyncClient, name: str, words: int) -> None:
        self.job_id = ""
        self.received: list[str] = []
        self._client = client
        self._text = f"{name} says naïve 東京 🎉 and so on"
        self._words = words
        self._ended = False
        self._news = asyncio.Event()

    async def read(self) -> None:
        """Until it ends."""
        body = chat(self._text, self._words)
        try:
            async with self._client.stream("POST", "/v1/chat/completions", json=body) as reply:
                assert reply.status_code == 200, await reply.aread()
                self.job_id = reply.headers["x-familyai-job-id"]
                await self._take(reply)
        finally:
            self._ended = True
            self._news.set()

    async def has(self, count: int) -> None:
        """Waits until so many events are here."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.received) < count:
                assert not self._ended, f"it ended with {self.received[-1:]}"
                self._news.clear()
                await self._news.wait()

    async def _take(self, reply: httpx.Response) -> None:
        async for line in reply.aiter_lines():
            if line.startswith("data: "):
                self.received.append(line.removeprefix("data: "))
                self._news.set()

    async def goes_on(self) -> None:
        """Waits until more has come than was here."""
        await self.has(len(self.received) + 3)

    def check(self) -> None:
        """Every word came once and in its place, then the end, all of it from one answer."""
        *events, last = self.received
        made = [json.loads(event) for event in events]
        assert [event for event in made if "error" in event] == []
        words = [choice["delta"].get("content", "") for event in made for choice in event["choices"]]
        assert words == [*expected_words(self._text, self._words), ""]
        assert last == "[DONE]"
        assert len({(event["id"], event["created"]) for event in made}) == 1
