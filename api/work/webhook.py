"""Tells somebody's server that work has ended: signed, tried again, and never to where it was not allowed to go.

A webhook is a request that this machine makes on a member's word, so it must not become a way into the household's
network: only hosts of `limits.webhook_hosts` are called, a name is resolved once and the very address that was checked
is connected to, private addresses are refused unless the host is listed by name, and redirects are not followed.
"""

import asyncio
import ipaddress
import itertools
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

import httpx
import orjson

from api.signing import signed_headers
from familyai import __version__
from familyai.errors import BadRequest

log = logging.getLogger(__name__)

SCHEDULE_S = (0.0, 5.0, 30.0, 120.0, 600.0)
"""How long each try waits for its turn after the one before."""
TRY_TIMEOUT_S = 15.0
MOST_ANSWER_BYTES = 64_000
LONGEST_URL = 2048
ANY = "*"
_NOT_ALLOWED = "webhook_not_allowed"
_GLOBAL_UNICAST, _6TO4 = ipaddress.ip_network("2000::/3"), ipaddress.ip_network("2002::/16")

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""All addresses of a host, as they should be tried. Raises OSError."""
Sleep = Callable[[float], Awaitable[Any]]


@dataclass(frozen=True)
class Delivery:
    """What became of it. `error` is a short word: that of the last try, None when it was delivered."""

    delivered_at_s: float | None
    tries: int
    error: str | None


@dataclass(frozen=True)
class _Failure:
    error: str
    is_final: bool = False


def check_url(url: str, hosts: tuple[str, ...]) -> None:
    """Raises BadRequest for what `limits.webhook_hosts` does not allow, and for what is no plain address of a page.

    Plain http is for hosts that are listed by name: whoever lists them knows the way to them.
    """
    if not hosts:
        raise _refusal(
            "webhooks are off in this household; limits.webhook_hosts in queues.yaml allows hosts", "webhooks_off"
        )
    parsed = _parsed(url)
    host = _host(parsed)
    listed = _is_listed(host, hosts)
    if not listed and (ANY not in hosts or _is_private_literal(host)):
        raise _refusal("this host is not among those that webhooks may call (limits.webhook_hosts)", _NOT_ALLOWED)
    if parsed.scheme != "https" and not listed:
        raise _refusal("webhook_url must begin with https:// unless its host is listed by name", _NOT_ALLOWED)


async def deliver(
    url: str,
    event: dict[str, Any],
    *,
    event_id: str,
    secret: str,
    hosts: tuple[str, ...],
    resolve: Resolve | None = None,
    sleep: Sleep = asyncio.sleep,
    verify: SSLContext | None = None,
) -> Delivery:
    """Tries until somebody answers 2xx, or 410, or the schedule is over; up to 13 minutes.

    Never raises for what the network or the receiver does. Cancelling it ends it; delivering again with the same
    `event_id` is harmless to a receiver that keeps to the standard.
    """
    context = verify if verify is not None else await asyncio.to_thread(_certificates)
    sender = _Sender(url, orjson.dumps(event), event_id, secret, hosts, resolve or addresses, context)
    failure = _Failure("not_tried")
    for tries, delay_s in enumerate(SCHEDULE_S, start=1):
        await sleep(delay_s)
        failed = await sender.send()
        if failed is None:
            log.info("a webhook was delivered", extra={"action": "webhook.delivered", "event": event_id, "try": tries})
            return Delivery(time.time(), tries, None)
        failure = failed
        log.info(
            "a webhook was not delivered",
            extra={"action": "webhook.failed", "event": event_id, "try": tries, "reason": failure.error},
        )
        if failure.is_final:
            break
    return Delivery(None, tries, failure.error)


def _certificates() -> SSLContext:
    """Of those that the world trusts: hundreds, so not to be read on an event loop."""
    return httpx.create_ssl_context(trust_env=False)


class _Sender:
    """One event on its way to one address, which is found once."""

    def __init__(
        self,
        url: str,
        body: bytes,
        event_id: str,
        secret: str,
        hosts: tuple[str, ...],
        resolve: Resolve,
        verify: SSLContext,
    ) -> None:
        self._url, self._body, self._event_id, self._secret = url, body, event_id, secret
        self._hosts, self._resolve, self._verify = hosts, resolve, verify
        self._addresses: list[str] = []
        self._turns: Iterator[str] = iter(())

    async def send(self) -> _Failure | None:
        """One try; None when it was delivered."""
        try:
            check_url(self._url, self._hosts)  # the household may have changed its mind since
            url = _parsed(self._url)
            async with asyncio.timeout(TRY_TIMEOUT_S):
                return _judged(await self._post(url, await self._address(url)))
        except BadRequest as error:
            return _Failure(error.code or _NOT_ALLOWED, is_final=True)
        except (TimeoutError, httpx.TimeoutException):
            return _Failure("timeout")
        except httpx.HTTPError:
            return _Failure("unreachable")
        except (OSError, UnicodeError):  # the latter: a label that no name server would take
            return _Failure("unknown_host")

    async def _address(self, url: httpx.URL) -> str:
        """Those of the host take turns, try by try. Raises BadRequest for a private one among them, and OSError."""
        host = _host(url)
        if not self._addresses:
            self._addresses = await self._resolve(host, _port(url))
            self._turns = itertools.cycle(self._addresses)
        if not _is_listed(host, self._hosts) and not all(is_public(address) for address in self._addresses):
            raise _refusal("the host has a private address", "private_address")
        return next(self._turns)

    async def _post(self, url: httpx.URL, address: str) -> int:
        """The status. Connects to this very address; a certificate is still held against the host's own name."""
        headers = {
            "host": url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": f"familyai/{__version__}",
            **signed_headers(self._secret, self._event_id, int(time.time()), self._body),
        }
        async with (
            httpx.AsyncClient(trust_env=False, verify=self._verify, timeout=TRY_TIMEOUT_S) as client,
            client.stream(
                "POST",
                url.copy_with(host=address, fragment=None),
                headers=headers,
                content=self._body,
                extensions={"sni_hostname": _host(url)},
                follow_redirects=False,
            ) as response,
        ):
            await _read_a_little(response)
            return response.status_code


async def _read_a_little(response: httpx.Response) -> None:
    """As much of the answer as a receiver may need to get rid of; what it says is nobody's concern."""
    size = 0
    async for piece in response.aiter_raw():
        size += len(piece)
        if size > MOST_ANSWER_BYTES:
            return


def _judged(status: int) -> _Failure | None:
    if 200 <= status < 300:
        return None
    return _Failure("redirect" if 300 <= status < 400 else f"status_{status}", is_final=status == 410)


async def addresses(host: str, port: int) -> list[str]:
    """As the machine resolves it. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)  # one at least
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether it is somebody's out there: not of this machine, of its network, or a disguise of such an address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast
    return ip.is_global and ip in _GLOBAL_UNICAST and ip not in _6TO4


def _parsed(url: str) -> httpx.URL:
    """Raises BadRequest."""
    try:
        parsed = httpx.URL(url)
        is_plain = parsed.scheme in ("http", "https") and not parsed.userinfo and 0 < _port(parsed) < 65536
    except (httpx.InvalidURL, UnicodeError):
        raise _invalid() from None
    host = _host(parsed)
    if not is_plain or not host or "%" in host or len(url) > LONGEST_URL:
        raise _invalid()
    return parsed


def _host(url: httpx.URL) -> str:
    """As it is resolved and compared: ASCII, lower case, without the dot that may end it."""
    return url.raw_host.decode("ascii").lower().rstrip(".")


def _port(url: httpx.URL) -> int:
    return url.port if url.port is not None else {"https": 443}.get(url.scheme, 80)


def _is_listed(host: str, hosts: tuple[str, ...]) -> bool:
    return any(host == listed.lower().rstrip(".").strip("[]") for listed in hosts if listed != ANY)


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public(str(ipaddress.ip_address(host)))
    except ValueError:
        return False


def _refusal(message: str, code: str) -> BadRequest:
    return BadRequest(message, param="webhook_url", code=code)


def _invalid() -> BadRequest:
    words = "webhook_url must be a plain http or https address, without a user's name or password in it"
    return _refusal(words, "invalid_url")
