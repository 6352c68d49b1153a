"""The worker's own port: is it alive, and what does it measure."""

import logging
import os
import socket
from threading import Thread

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from familyai.errors import ConfigurationError
from workers.host import Host


class HealthServer:
    """Answers from a thread of its own, for a loading engine may hold up the engine's loop for minutes.

    Raises ConfigurationError when the port is taken: better not to start than to work unseen.
    """

    def __init__(self, host: Host, address: str, port: int) -> None:
        self._socket = _bind(address, port)
        config = uvicorn.Config(
            make_app(host), log_config=None, log_level=logging.WARNING, access_log=False, lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, args=([self._socket],), name="health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(2)


def make_app(host: Host) -> Starlette:
    """`/health` says 503 while the model loads, while the worker drains, and once the engine has died.

    `/metrics` is Prometheus's text format.
    """

    async def health(_: Request) -> Response:
        body = {
            "status": host.status,
            "queue": host.queue,
            "worker": host.worker,
            "pid": os.getpid(),
            "running": len(host.running),
        }
        return JSONResponse(body, status_code=200 if host.status == "ok" else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/health", health), Route("/metrics", metrics)])


def _bind(address: str, port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address, port))
    except OSError as error:
        made.close()
        raise ConfigurationError(f"port {port} of the worker is taken ({error.strerror}): choose another") from error
    return made
