"""The household's API as the command line asks it: with the member's key, and failures that a person can act on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from familyai.cli import stack
from familyai.cli.console import own_command
from familyai.errors import FamilyAIError
from familyai.settings import Settings

CONNECT_S, SILENCE_S = 10.0, 60.0
ANSWER_S = 660.0
"""A little more than a request may wait in its queue."""
_MAY_PASS = frozenset({502, 503, 504})
LARGEST_ERROR_BYTES = 1_000_000

_T = TypeVar("_T")


class ApiFailed(FamilyAIError):
    """The API's own message, or why there is no API to ask."""


class ApiLost(ApiFailed):
    """Nobody answered, or the answer broke off, or it was a 503: a later try may succeed."""


class Api:
    """Raises ApiFailed, or ApiLost for what may pass, from all methods. Close it when done."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.client_url
        here = stack.is_loopback(urlsplit(self.url).hostname or "")
        self._client = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key_of(settings)}"},
            timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S, read=ANSWER_S),
            trust_env=not here,  # no proxy between this machine and itself
        )

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str, **options: Any) -> bytes:
        """The answer's body. `options` are httpx's."""
        with self.answer(method, path, **options) as response:
            return response.read()

    @contextmanager
    def answer(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """The answer, whose body is still to be read."""
        with self._losses(), self._client.stream(method, path, **options) as response:
            if response.status_code >= 300:
                raise self._refusal(response)
            yield response

    def _refusal(self, response: httpx.Response) -> ApiFailed:
        words = api_message(_json(_beginning(response)))
        if words is None:
            return something_else(self.url, response.status_code)
        return ApiLost(words) if response.status_code in _MAY_PASS else ApiFailed(words)

    @contextmanager
    def _losses(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise nobody(self.url) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ApiFailed(f"FAMILYAI_URL={self.url}: {error}") from error
        except httpx.TransportError as error:
            raise ApiLost(f"the connection to {self.url} broke ({type(error).__name__})") from error


def decoded(body: bytes, kind: type[_T]) -> _T:
    """Raises ApiFailed."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise ApiFailed(f"the answer is none that this version understands: {error}") from error


def key_of(settings: Settings) -> str:
    """Raises ApiFailed where there is none."""
    if key := settings.api_key.get_secret_value():
        return key
    raise ApiFailed(f"no key: start FamilyAI with {own_command()} up, or set FAMILYAI_URL and FAMILYAI_API_KEY")


def nobody(url: str) -> ApiLost:
    return ApiLost(f"nobody answers at {url}; start FamilyAI with: {own_command()} up")


def something_else(url: str, status: int) -> ApiFailed:
    return ApiFailed(
        f"something else than FamilyAI answers at {url} (status {status}); FAMILYAI_URL says where FamilyAI is"
    )


def api_message(body: object) -> str | None:
    """The message in OpenAI's error envelope, with or without its outer `error`."""
    inner = body.get("error", body) if isinstance(body, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else None
    return message if isinstance(message, str) else None


def _beginning(response: httpx.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > LARGEST_ERROR_BYTES:
            break
    return bytes(body)


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None
