"""`python -m workers QUEUE --port N`: one worker process for one queue."""

import argparse
import logging
import os
import signal
import sys
from threading import Timer
from types import FrameType

from familyai.catalogue import load_profile
from familyai.errors import ConfigurationError, FamilyAIError
from familyai.logs import configure
from familyai.settings import load_settings
from workers import telemetry
from workers.consumer import make_worker
from workers.host import ENGINE_DIED, Host
from workers.http import HealthServer

log = logging.getLogger(__name__)


def main() -> int:
    """0 after a drain; 70 when the engine died or Celery stood still; 1 when it could not start."""
    arguments = _parse()
    telemetry.turn_off()
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
    host = Host(settings, profile, queue, on_dead=lambda: _end(profile.limits.drain_s))
    health = HealthServer(host, "127.0.0.1", port)
    health.start()
    try:
        host.load()
        worker = make_worker(settings.broker_url.get_secret_value(), host, host.lanes, profile.model(queue).places)
        worker.start()
        return ENGINE_DIED if host.status == "dead" else worker.exitcode or 0
    finally:
        host.close()
        health.stop()


def _stop_loading(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _end(drain_s: float) -> None:
    """What still runs may finish; should Celery itself be stuck, the process ends all the same."""
    last_resort = Timer(drain_s, os._exit, [ENGINE_DIED])
    last_resort.daemon = True
    last_resort.start()
    os.kill(os.getpid(), signal.SIGTERM)


def _exit_code() -> int:
    try:
        return main()
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else 0
    except Exception as error:  # before the first job: its words are about the machine, not about anybody's prompt
        log.exception(f"the worker failed: {error}", extra={"action": "worker.failed"})
        return 1


if __name__ == "__main__":
    code = _exit_code()
    logging.shutdown()
    os._exit(code)  # an engine's library may have left threads or children that an orderly exit would wait for
