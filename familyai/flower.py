"""The Celery app that Flower watches: `celery -A familyai.flower:app flower`."""

from collections.abc import Iterator

from kombu import Queue
from redis import Redis
from redis.exceptions import RedisError

from familyai import keys
from familyai.catalogue import load_profile
from familyai.settings import load_settings
from familyai.tasks import celery_queue, make_app


class LanesInUse(list[Queue]):
    """The lanes that were ever served, or in which somebody waits: looked up each time that Flower asks."""

    def __init__(self, redis: "Redis", queues: list[str]) -> None:
        super().__init__()
        self._redis = redis
        self._queues = queues

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Queue]:
        return map(celery_queue, sorted(self._names()))

    def _names(self) -> set[str]:
        pipe = self._redis.pipeline(transaction=False)
        for queue in self._queues:
            pipe.zrange(keys.service(queue), 0, -1)
            pipe.smembers(keys.active(queue))
        try:
            return {name.decode() for names in pipe.execute() for name in names}
        except RedisError:
            return set()


settings = load_settings()
broker_url = settings.broker_url.get_secret_value()
app = make_app(broker_url)
app.conf.task_queues = LanesInUse(
    Redis.from_url(broker_url, socket_timeout=5), list(load_profile(settings.catalogue, settings.profile).models)
)
