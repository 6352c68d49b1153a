"""Which processes are disturbed: the product's own, with a second front and a second worker, on ports of their own."""

import os
import random
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr

from familyai.broker_users import OWNER, url_of
from familyai.catalogue import Profile, load_catalogue, load_profile
from familyai.cli import stack
from familyai.cli.home import Home, write_private
from familyai.cli.plan import broker_binary, has_engine
from familyai.cli.probes import HttpProbe
from familyai.cli.supervisor import ProcessSpec
from familyai.settings import Settings

ROOT = Path(__file__).parents[2]
PROFILE = "chaos"
FRONTS = 2
ECHO = {"model": "familyai/echo", "engine": "echo", "memory_gb": 0.1, "slots": 48, "answer_tokens": 100}
ECHO_QUEUES = ("chat-fast", "chat-lightweight")
REAL_QUEUES = {"chat-reasoning": "chat-fast", "asr": "asr", "tts": "tts"}
"""With the embedded profile's name of each."""
PORTS = range(16_000, 32_000)
"""Below those that the kernel gives to connections: such a one could take the port of a process that is away."""


@dataclass(frozen=True)
class Layout:
    """What runs, as the supervisor wants it, and where to ask."""

    specs: list[ProcessSpec]
    profile: Profile
    broker_url: str
    front_urls: list[str]


def layout(home: Home, real: bool) -> Layout:
    """Writes what the processes read. Raises ConfigurationError, CannotStart."""
    home.make()
    settings, own_broker = _settings(home, _write_catalogue(home, real))
    profile = load_profile(settings.catalogue, PROFILE)
    config = stack.broker_config(home, settings.broker_port, profile.models, own_broker.passwords)
    write_private(home.broker_config, config)
    specs = _specs(settings, profile, home, own_broker)
    urls = [_url(settings.port + number) for number in range(FRONTS)]
    return Layout(specs, profile, settings.broker_url.get_secret_value(), urls)


def _settings(home: Home, catalogue: Path) -> tuple[Settings, stack.OwnBroker]:
    first = _free_ports_in_a_row(12)
    own_broker = stack.OwnBroker(broker_binary(), home.broker_passwords())
    settings = Settings(
        home=home.root,
        profile=PROFILE,
        catalogue=catalogue,
        blob_url="",
        broker_url=SecretStr(url_of(OWNER, own_broker.passwords[OWNER], f"{stack.LOOPBACK}:{first}")),
        broker_port=first,
        flower_port=first + 1,
        port=first + 2,
        worker_port=first + 2 + FRONTS,
    )
    return settings, own_broker


def _specs(settings: Settings, profile: Profile, home: Home, own_broker: stack.OwnBroker) -> list[ProcessSpec]:
    """All but Flower."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FAMILYAI_")}
    built = stack.build(settings, profile, home, environ, "", own_broker, has_engine)
    broker, *workers, front, _ = built.specs
    more = _another_worker(workers[0], settings.worker_port + len(workers), home)
    return [broker, *workers, more, *(_front(front, number, settings.port + number, home) for number in range(FRONTS))]


def _another_worker(spec: ProcessSpec, port: int, home: Home) -> ProcessSpec:
    name = f"{spec.name} 2"
    argv = (*spec.argv[:-1], str(port))
    return replace(spec, name=name, argv=argv, probe=HttpProbe(f"{_url(port)}/health"), log=home.log(name))


def _front(spec: ProcessSpec, number: int, port: int, home: Home) -> ProcessSpec:
    """Healthy while it lives: it is not ready while something else is away."""
    name = f"{spec.name} {number + 1}"
    env = {**spec.env, "FAMILYAI_PORT": str(port)}
    return replace(spec, name=name, env=env, probe=HttpProbe(f"{_url(port)}/health"), log=home.log(name))


def _write_catalogue(home: Home, real: bool) -> Path:
    """JSON is YAML too. Nobody is refused for asking much."""
    queues: dict[str, Mapping[str, Any]] = dict.fromkeys(ECHO_QUEUES, ECHO)
    if real:
        embedded = load_catalogue(ROOT / "queues.yaml").profiles["embedded"]
        found = {queue: embedded.model(name) for queue, name in REAL_QUEUES.items()}
        queues |= {queue: model.model_dump(mode="json", exclude_defaults=True) for queue, model in found.items()}
        if (models := ROOT / ".familyai" / "models").is_dir() and not home.models.exists():
            home.models.symlink_to(models)  # converted by the set-up
    profile = {
        "memory_budget_gb": 8,
        "limits": {"waiting": 100_000},
        "roles": {"admin": {"waiting": 10_000}, "adult": {"waiting": 10_000}},
        "queues": queues,
    }
    path = home.root / "queues.yaml"
    path.write_bytes(orjson.dumps({"profiles": {PROFILE: profile}}))
    return path


def _url(port: int) -> str:
    return stack.local_url(stack.LOOPBACK, port)


def _free_ports_in_a_row(count: int) -> int:
    """The first of them."""
    while True:
        first = random.choice(PORTS[:-count])  # noqa: S311 (no secret)
        with ExitStack() as opened:
            try:
                for port in range(first, first + count):
                    opened.enter_context(socket.socket()).bind((stack.LOOPBACK, port))
            except OSError:
                continue
            return first
