"""The Celery side of the contract: one task, sent by name, on a lane of the model.

The front builds the message with Celery's own `as_task_v2` and kombu's serializer, but pushes it itself, in the same
atomic script that writes the job's record (ADR 0002): nothing can die between the two, and nothing blocks its loop.
"""

import json
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.serialization import dumps
from kombu.transport.virtual.base import Base64
from kombu.utils.encoding import bytes_to_str

from familyai import keys
from familyai.job import Job

SERVE = "familyai.serve"
VISIBILITY_TIMEOUT_S = 6 * 3600
SILENT_S = 5
"""A broker that does not answer for so long is asked anew, on another connection."""
HEALTH_CHECK_S = 3
"""Between two looks whether an answer to a request for messages is overdue."""
TURN = "familyai_turn"
"""The header with what a worker needs to know before the claim, by a Job's own names: `cost`, `weight`, `width`,
`most_running`, `shares_lane`."""

QueueOrder = Callable[[], Any]
"""Makes what kombu asks in which order to drain its queues (`kombu.utils.scheduling`)."""


def make_app(broker_url: str, lanes: Sequence[str] = (), **transport_options: Any) -> Celery:
    """The Celery app of a worker that drains these lanes, or, without lanes, of a client.

    Acknowledged late with a multiplier of 1, so that nothing is reserved beyond what runs. No remote control, gossip or
    mingle: their own pub/sub connection crashes a worker when the broker restarts.
    """
    app = Celery("familyai", broker=broker_url, backend=None, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_default_queue=lanes[0] if lanes else keys.DEFAULT_QUEUE,
        task_queues=[celery_queue(lane) for lane in lanes] or None,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_soft_shutdown_timeout=0,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_prefetch_count_reduction=False,  # whose jobs still run, their turns know
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # a broker whose disk is full refuses commands, and is no reason to end
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "priority_steps": [0],  # the order of lanes decides; kombu would wait on four lists for each
            "socket_keepalive": True,
            "socket_timeout": SILENT_S,
            "socket_connect_timeout": SILENT_S,
            "health_check_interval": HEALTH_CHECK_S,
            **transport_options,
        },
        timezone="UTC",
    )
    return app


def celery_queue(name: str) -> Queue:
    """A queue on the default exchange: messages go straight to its list, so there is nothing to declare. It would take
    a worker two round trips for each of its hundred lanes, whenever it connects."""
    return Queue(name, Exchange(""), routing_key=name, no_declare=True)


@lru_cache(maxsize=1)
def _builder() -> Celery:
    return Celery("familyai", broker="memory://", backend=None, set_as_current=False)


def task_message(job: Job) -> str:
    """What kombu's Redis transport would push for this job: ids and names only, never a prompt."""
    kwargs = {"job_id": job.id, "member": job.member, "model": job.model}
    message = _builder().amqp.as_task_v2(
        job.id,
        SERVE,
        kwargs=kwargs,
        argsrepr="()",
        kwargsrepr=repr(kwargs),  # what Flower shows; Celery's own, for values of any kind, takes 45 us longer
        ignore_result=True,
        origin=job.front,
    )
    content_type, content_encoding, body = dumps(message.body, serializer="json")
    return json.dumps(
        {
            "body": _base64(body),
            "content-encoding": content_encoding,
            "content-type": content_type,
            "headers": {**message.headers, "ignore_result": True, TURN: _turn(job)},
            "properties": {
                **message.properties,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": job.lane},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )


def _turn(job: Job) -> dict[str, float]:
    return {
        "cost": job.cost,
        "weight": job.weight,
        "width": job.width,
        "most_running": job.most_running,
        "shares_lane": job.shares_lane,
    }


def _base64(body: str | bytes) -> str:
    return str(bytes_to_str(Base64().encode(body)))
