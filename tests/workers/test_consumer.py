"""What differs from Celery's own consumer."""

from typing import Any

from familyai.tasks import make_app
from workers.consumer import RECONNECT_S, SteadyConsumer


class Gone:
    """A connection that is asked for again and again."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def ensure_connection(self, on_error: Any, max_retries: int | None, **how: Any) -> "Gone":
        self.asked = {"max_retries": max_retries, **how}
        return self


def test_a_broker_that_is_away_is_asked_for_at_the_same_short_intervals_for_ever() -> None:
    consumer = object.__new__(SteadyConsumer)
    consumer.app = make_app("redis://127.0.0.1:1/0", ["chat-fast.00"])
    gone = Gone()
    consumer.ensure_connected(gone)

    assert gone.asked["max_retries"] is None
    assert gone.asked["interval_start"] == gone.asked["interval_max"] == RECONNECT_S
    assert gone.asked["interval_step"] == 0
