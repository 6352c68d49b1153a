"""Asking a process how it is: a probe is a value that is called and answers within two seconds, whatever happens."""

import json
import ssl
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from familyai.broker import BROKER_ERRORS, connect

TIMEOUT_S = 2.0


class Health(NamedTuple):
    """`words` say what the process is doing, for a person who waits."""

    healthy: bool
    words: str


class Probe(Protocol):
    """Never raises."""

    async def __call__(self) -> Health: ...


@dataclass(frozen=True)
class HttpProbe:
    """200 is healthy; anything else is not, and its JSON says why. No proxy ever stands in between."""

    url: str
    api_key: str = field(default="", repr=False)

    async def __call__(self) -> Health:
        import httpx  # half the start-up time of `familyai --help`, were it above

        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, verify=no_tls) as client:
                response = await client.get(self.url, headers=headers)
        except httpx.TimeoutException:
            return Health(False, "does not answer in time")
        except (httpx.HTTPError, OSError):
            return Health(False, "starting")
        return Health(response.status_code == 200, health_words(response.status_code, response.text))


@dataclass(frozen=True)
class PingProbe:
    """A broker that answers PING has read its append-only file and takes commands."""

    url: str = field(repr=False)

    async def __call__(self) -> Health:
        redis = connect(self.url, timeout_s=TIMEOUT_S)
        try:
            await redis.ping()
        except BROKER_ERRORS as error:
            loading = "loading" in str(error).lower()
            return Health(False, "reading its append-only file" if loading else "starting")
        finally:
            await redis.aclose()
        return Health(True, "answers")


def health_words(status: int, text: str) -> str:
    """What a health endpoint says in words: its `status`, and every one of its `parts` that is not ok."""
    plain = "answers" if status == 200 else f"answers {status}"
    try:
        answer = json.loads(text)
    except ValueError:
        return plain
    if not isinstance(answer, dict) or "status" not in answer:
        return plain
    parts = answer.get("parts") or {}
    down = "; ".join(f"{part} {words}" for part, words in parts.items() if words != "ok")
    return f"{answer['status']}: {down}" if down else str(answer["status"])
