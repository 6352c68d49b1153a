"""`python -m api`: one front process."""

import asyncio
import logging
import math
import resource
import socket
import sys

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.connections import bounded
from familyai.catalogue import Profile, load_profile
from familyai.errors import ConfigurationError, Unavailable
from familyai.heap import settle_heap
from familyai.logs import configure
from familyai.settings import Settings, load_settings

KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that they close first and never send into one that is closing."""
LAST_WORDS_S = 1.0
"""Before open answers are cut, their clients are told why."""
OTHER_FILES = 256
"""Open besides connections and what each of them uploads: the broker's, logs, libraries."""

log = logging.getLogger(__name__)


class FrontServer(uvicorn.Server):
    """Stops warmly: no new requests, open answers have `drain_s` to finish, and what is left ends with an error."""

    def __init__(self, app: FastAPI, config: uvicorn.Config, drain_s: float) -> None:
        super().__init__(config)
        self._front = app.state.front
        self._drain_s = drain_s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stopping = Unavailable("this server is stopping; try again in a moment", code="stopping", retry_after_s=5)
        asyncio.get_running_loop().call_later(self._drain_s, self._front.replies.fail_all, stopping)
        self._front.stopping.set()
        await super().shutdown(sockets)


def main() -> None:
    """Serves until SIGINT or SIGTERM. Exits 2 when the configuration is wrong."""
    configure("front")
    try:
        settings = load_settings()
        if not settings.broker_url.get_secret_value():
            raise ConfigurationError("FAMILYAI_BROKER_URL is not set: `familyai up` starts a broker and sets it")
        profile = load_profile(settings.catalogue, settings.profile)
        app = create_app(settings, profile)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    settle_heap()
    FrontServer(app, server_config(app, settings, profile), profile.limits.drain_s).run()


def server_config(app: FastAPI, settings: Settings, profile: Profile) -> uvicorn.Config:
    """Nobody's word on a client's address counts but a listed proxy's; uvicorn alone would believe this machine."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=bounded(profile.limits, room_for(profile.limits.connections), settings.proxies),
        ws="none",
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(profile.limits.drain_s + LAST_WORDS_S),
    )


def room_for(connections: int) -> int:
    """How many connections this process may have: each is a file, and stores one. Raises the limit if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + OTHER_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == wanted:
        return connections
    fewer = max(1, (allowed - OTHER_FILES) // 2)
    log.warning("open files are few", extra={"action": "front.few_files", "files": allowed, "connections": fewer})
    return fewer


if __name__ == "__main__":
    main()
