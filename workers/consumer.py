"""The Celery side of a worker: takes jobs off the model's queue, as many at a time as the model has places."""

import logging
from typing import Any

from celery.apps.worker import Worker
from celery.signals import worker_shutting_down

from familyai.tasks import SERVE, make_app
from workers.host import Host

log = logging.getLogger(__name__)


def make_worker(broker_url: str, host: Host, places: int) -> Worker:
    """A worker whose pool threads do nothing but wait for the engine's loop. `start()` blocks until SIGTERM or SIGINT.

    Both stop it warmly: no new jobs, the running ones finish, everything acknowledged.
    """
    app = make_app(broker_url, host.queue)

    @app.task(name=SERVE)  # type: ignore[untyped-decorator]
    def serve(job_id: str, **_: Any) -> None:
        host.serve(job_id)

    worker_shutting_down.connect(lambda **_: host.drain(), weak=False)
    return app.Worker(
        hostname=host.worker,
        pool_cls="threads",
        concurrency=places,
        task_events=True,
        without_mingle=True,
        without_gossip=True,
        quiet=True,
        loglevel=logging.INFO,
    )
