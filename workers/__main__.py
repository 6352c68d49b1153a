"""`python -m workers QUEUE --port N`: one worker process for one queue."""

import argparse
import logging
import os
import signal
import sys
from threading import Thread
from types import FrameType

from familyai.catalogue import load_profile
from familyai.errors import ConfigurationError, FamilyAIError
from familyai.logs import configure
from familyai.settings import load_settings
from workers.consumer import make_worker
from workers.host import Host
from workers.http import HealthServer

log = logging.getLogger(__name__)

ENGINE_DIED = 70


def main() -> int:
    """0 after a drain; 70 when the engine died; 1 when it could not start."""
    arguments = _parse()
    configure(f"worker {arguments.queue}")
    signal.signal(signal.SIGTERM, _stop_loading)
    try:
        return _run(arguments.queue, arguments.port)
    except FamilyAIError as error:
        log.error(str(error), extra={"action": "worker.unstartable"})
        return 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("queue", help="a queue of the profile with a model of its own")
    parser.add_argument("--port", type=int, default=8000, help="port of /health and /metrics, on loopback")
    return parser.parse_args()


def _run(queue: str, port: int) -> int:
    settings = load_settings()
    profile = load_profile(settings.catalogue, settings.profile)
    if queue not in profile.models:
        raise ConfigurationError(
            f"'{queue}' is no queue with a model of its own; those are: {', '.join(profile.models)}"
        )
    host = Host(settings, profile, queue, on_dead=lambda: os.kill(os.getpid(), signal.SIGTERM))
    health = HealthServer(host, "127.0.0.1", port)
    host.submit(health.serve())
    try:
        host.load()
        make_worker(settings.broker_url.get_secret_value(), host, profile.model(queue).slots).start()
        return ENGINE_DIED if host.status == "dead" else 0
    finally:
        health.should_exit = True
        host.close()


def _stop_loading(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # An engine's library may have left non-daemon threads or children to join; all that matters is closed by now.
    Thread(target=lambda: os._exit(code)).start()
