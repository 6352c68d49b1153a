"""The worker's own port: is it alive, and what does it measure."""

import os

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workers.host import Host


def make_app(host: Host) -> Starlette:
    """`/health` says 503 while the model loads or once the engine has died; `/metrics` is Prometheus's text format."""

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


class HealthServer(uvicorn.Server):
    """Leaves the process's signals alone; they belong to Celery."""

    def __init__(self, host: Host, address: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                make_app(host),
                host=address,
                port=port,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
            )
        )

    def install_signal_handlers(self) -> None:
        return
