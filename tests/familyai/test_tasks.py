"""The message that the front pushes by hand is the one that Celery would have sent."""

import base64
import json
from typing import Any

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from familyai.lanes import lanes
from familyai.tasks import SERVE, TURN, celery_queue, make_app, task_message
from tests.support import a_job

JOB = a_job(
    queue="chat-fast",
    member="Äda 'O\"Hara",
    headers=(("accept", "secret header"),),
    body=b"secret prompt",
)
OWN_PER_MESSAGE = ("delivery_tag", "reply_to")


def comparable(message: str | bytes) -> dict[str, Any]:
    """A message as its fields, without those that differ from one message or process to the next."""
    parsed = json.loads(message)
    body = json.loads(base64.b64decode(parsed.pop("body")))
    properties = {name: value for name, value in parsed.pop("properties").items() if name not in OWN_PER_MESSAGE}
    headers = {name: value for name, value in parsed.pop("headers").items() if name != "origin"}
    return {**parsed, "body": body, "properties": properties, "headers": headers}


@pytest.fixture
async def sent(broker_url: str, redis: Redis) -> bytes:
    """What Celery's own `send_task` leaves on the queue for the same job."""
    kwargs = {"job_id": JOB.id, "member": JOB.member, "model": JOB.model}
    names = ("cost", "weight", "width", "most_running", "shares_lane")
    turn = {name: getattr(JOB, name) for name in names}
    with make_app(broker_url) as app:
        app.send_task(
            SERVE, kwargs=kwargs, task_id=JOB.id, queue=celery_queue(JOB.lane), ignore_result=True, headers={TURN: turn}
        )
    (message,) = await redis.lrange(JOB.lane, 0, -1)
    return bytes(message)


async def test_it_has_the_fields_of_celery_s_own(sent: bytes) -> None:
    assert comparable(task_message(JOB)) == comparable(sent)


async def test_what_is_left_out_of_the_comparison_is_there(sent: bytes) -> None:
    ours, theirs = json.loads(task_message(JOB)), json.loads(sent)
    assert ours["properties"].keys() == theirs["properties"].keys()
    assert ours["headers"].keys() == theirs["headers"].keys()


def test_it_names_the_job_and_no_content() -> None:
    message = task_message(JOB)
    everything = message.encode() + base64.b64decode(json.loads(message)["body"])
    assert JOB.id.encode() in everything
    assert b"secret" not in everything


def test_each_message_has_a_delivery_tag_of_its_own() -> None:
    tags = {json.loads(task_message(JOB))["properties"]["delivery_tag"] for _ in range(10)}
    assert len(tags) == 10


def test_kombu_takes_it_off_the_queue_and_reads_a_call_of_the_task(broker_url: str, broker_client: SyncRedis) -> None:
    broker_client.lpush(JOB.lane, task_message(JOB))
    with make_app(broker_url, [JOB.lane]).connection_for_read() as connection:
        message = celery_queue(JOB.lane)(connection.default_channel).get(accept=["json"])
        args, kwargs, _ = message.decode()
        message.ack()
    assert message.headers["task"] == SERVE
    assert (args, kwargs) == ([], {"job_id": JOB.id, "member": JOB.member, "model": JOB.model})
    assert broker_client.llen(JOB.lane) == 0


def test_a_worker_s_app_takes_json_alone_and_keeps_no_results() -> None:
    conf = make_app("redis://127.0.0.1:1/0", ["chat-fast.00"]).conf
    assert conf.accept_content == ["json"]
    assert conf.result_backend is None
    assert conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 1
    assert not conf.worker_enable_remote_control


def test_a_worker_s_app_bears_the_broker_s_faults() -> None:
    conf = make_app("redis://127.0.0.1:1/0", ["chat-fast.00"]).conf
    assert conf.broker_connection_retry
    assert conf.broker_connection_max_retries is None
    assert conf.broker_channel_error_retry
    assert not conf.worker_enable_prefetch_count_reduction
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss


def test_lanes_are_declared_without_a_word_to_the_broker(broker_url: str, broker_client: SyncRedis) -> None:
    names = [lane.name for lane in lanes("q", 2)]
    with make_app(broker_url, names) as app, app.connection_for_read() as connection:
        app.amqp.TaskConsumer(connection)
    assert broker_client.keys() == []


def test_a_worker_drains_its_lanes_and_a_client_none() -> None:
    names = [lane.name for lane in lanes("chat-fast", 2)]
    conf = make_app("redis://127.0.0.1:1/0", names).conf
    assert [queue.name for queue in conf.task_queues] == names
    assert make_app("redis://127.0.0.1:1/0").conf.task_queues is None


def test_a_worker_waits_on_one_list_for_each_lane(broker_url: str) -> None:
    with make_app(broker_url, [lane.name for lane in lanes("q", 2)]) as app, app.connection_for_read() as connection:
        channel = connection.default_channel
        assert channel.priority_steps == [0]
        assert channel._q_for_pri("q.00", 9) == "q.00"
