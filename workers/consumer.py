"""The Celery side of a worker: takes jobs off the model's lanes, in the fair order, as many as the model has places."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from celery import Task
from celery.apps.worker import Worker
from celery.signals import task_received, worker_shutting_down
from celery.worker.consumer import Consumer
from celery.worker.request import Request
from kombu import Connection

from familyai import keys
from familyai.jobs import Delivery
from familyai.tasks import SERVE, TURN, make_app
from workers import transport
from workers.host import Host
from workers.turns import LaneCycle, Turns

log = logging.getLogger(__name__)

RECONNECT_S = 1


class SteadyConsumer(Consumer):  # type: ignore[misc]
    """Celery's, but it asks for a broker that is away every second, where Celery's own comes to wait half a minute."""

    def ensure_connected(self, conn: Connection) -> Connection:
        steadily = {"interval_start": RECONNECT_S, "interval_step": 0, "interval_max": RECONNECT_S}
        conn.ensure_connection = partial(conn.ensure_connection, **steadily)
        return super().ensure_connected(conn)


def make_worker(broker_url: str, host: Host, lanes: Sequence[str], places: int) -> Worker:
    """A worker whose pool threads do nothing but wait for the engine's loop. `start()` blocks until SIGTERM or SIGINT.

    Both stop it warmly: no new jobs, the running ones finish, everything acknowledged.
    """
    app = make_app(
        broker_url,
        lanes,
        queue_order_strategy=lambda: LaneCycle(host.turns),
        client_name=host.worker,
        **keys.unacked(host.queue),
    )
    app.conf.broker_transport = transport.NAME

    @app.task(name=SERVE, bind=True)  # type: ignore[untyped-decorator]
    def serve(task: Task, job_id: str = "", member: str = "", **_: Any) -> None:
        turn = host.turns.begin(task.request.properties["delivery_tag"])
        about = task.request.get(TURN) or {}
        most, shares = int(about.get("most_running", 0)), bool(about.get("shares_lane"))
        host.serve(Delivery(job_id, turn.lane, member, turn.width, most, shares), turn)

    task_received.connect(lambda request, **_: _arrived(host.turns, request), weak=False)
    worker_shutting_down.connect(lambda **_: host.drain(), weak=False)
    return app.Worker(
        hostname=host.worker,
        consumer_cls=SteadyConsumer,
        pool_cls="threads",
        concurrency=places,
        task_events=True,
        without_mingle=True,
        without_gossip=True,
        quiet=True,
        loglevel=logging.INFO,
    )


def _arrived(turns: Turns, request: Request) -> None:
    """Runs in Celery's thread, before it asks for the next message. A message of another sender costs one unit."""
    turn = request.request_dict.get(TURN) or {}
    turns.arrived(
        tag=request.message.delivery_tag,
        lane=request.delivery_info["routing_key"],
        cost=float(turn.get("cost", 1.0)),
        weight=float(turn.get("weight", 1.0)),
        width=int(turn.get("width", 1)),
    )
