"""Which processes make a household, in the order in which they start: the workers together, the others one by one.

Pure: settings and catalogue in, specs out.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from familyai import broker_users
from familyai.catalogue import Model, Profile
from familyai.cli.erasure import Erasure
from familyai.cli.home import Home
from familyai.cli.probes import HttpProbe, PingProbe
from familyai.cli.supervisor import ProcessSpec
from familyai.settings import Settings

BROKER, FRONT, FLOWER = "broker", "front", "flower"
LOOPBACK = "127.0.0.1"
ANY_ADDRESS = {"0.0.0.0": LOOPBACK, "::": "[::1]", "": LOOPBACK}  # noqa: S104 (where a client on this machine calls)
_CLIENT_ONLY = ("FAMILYAI_API_KEY", "FAMILYAI_URL")
MODEL_LOAD_TIMEOUT_S = 1800.0
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Port:
    """A port that must be free, and the variable that moves it."""

    number: int
    owner: str
    variable: str


@dataclass(frozen=True)
class OwnBroker:
    """The server to start, and the password of each of its users, where these matter already."""

    binary: str
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Stack:
    """`left_out` are the resident queues whose engine this installation lacks."""

    specs: tuple[ProcessSpec, ...]
    ports: tuple[Port, ...]
    left_out: tuple[str, ...]
    url: str
    flower_url: str
    broker_url: str = field(repr=False)


def build(
    settings: Settings,
    profile: Profile,
    home: Home,
    environ: Mapping[str, str],
    flower_password: str,
    own_broker: OwnBroker | None,
    has_engine: Callable[[str], bool],
) -> Stack:
    """`own_broker` is None when somebody else runs the broker at `settings.broker_url`."""
    models = {queue: model for queue, model in profile.resident.items() if has_engine(model.engine)}
    left_out = tuple(queue for queue in profile.resident if queue not in models)
    base = environment(settings, home, environ)

    def env_of(user: str) -> dict[str, str]:
        return {**base, **_broker_access(user, own_broker, settings.broker_port)}

    url, flower_url = local_url(settings.host, settings.port), local_url(LOOPBACK, settings.flower_port)
    broker_url = settings.broker_url.get_secret_value()
    broker = [_broker(home, base, own_broker.binary, broker_url)] if own_broker else []
    workers = [
        _worker(queue, model, settings.worker_port + index, profile.limits.drain_s, home, env_of(broker_users.WORKER))
        for index, (queue, model) in enumerate(models.items())
    ]
    health_url = f"{url}/health" if left_out else f"{url}/health/ready"
    front = _front(home, env_of(broker_users.FRONT), health_url, profile.limits.drain_s)
    flower = _flower(home, env_of(broker_users.FLOWER), settings.flower_port, flower_url, flower_password)
    return Stack(
        specs=(*broker, *workers, front, flower),
        ports=_ports(settings, list(models), own_broker is not None),
        left_out=left_out,
        url=url,
        flower_url=flower_url,
        broker_url=broker_url,
    )


def environment(settings: Settings, home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """What every process gets: this environment, with the settings made absolute, and nobody's key."""
    inherited = {key: value for key, value in environ.items() if key not in _CLIENT_ONLY}
    return {
        **inherited,
        **public_environment(settings, home),
        "FAMILYAI_BROKER_URL": settings.broker_url.get_secret_value(),
        "PYTHONUNBUFFERED": "1",
    }


def public_environment(settings: Settings, home: Home) -> dict[str, str]:
    """The settings of a running stack that are no secret: what `familyai status` and `down` go by later."""
    values = {
        "FAMILYAI_HOME": str(home.root),
        "FAMILYAI_PROFILE": settings.profile,
        "FAMILYAI_CATALOGUE": str(settings.catalogue.resolve()),
        "FAMILYAI_HOST": settings.host,
        "FAMILYAI_PORT": str(settings.port),
        "FAMILYAI_WORKER_PORT": str(settings.worker_port),
        "FAMILYAI_FLOWER_PORT": str(settings.flower_port),
        "FAMILYAI_BROKER_PORT": str(settings.broker_port),
    }
    return {**values, "FAMILYAI_BLOB_URL": settings.blob_url} if settings.blob_url else values


def broker_config(home: Home, port: int, queues: Iterable[str], passwords: Mapping[str, str]) -> str:
    """The broker's configuration file, so that no password stands in a process list; see `familyai.broker_users`."""
    return "\n".join(
        (
            f"bind {LOOPBACK}",
            f"port {port}",
            *broker_users.access_list(queues, passwords),
            f'dir "{home.broker}"',
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",  # a full broker refuses work; it never forgets any
            "client-output-buffer-limit pubsub 256mb 64mb 60",  # a front that reads too slowly is cut off
            "slowlog-log-slower-than -1",  # it would keep the beginnings of prompts
            "",
        )
    )


def _broker_access(user: str, own: OwnBroker | None, port: int) -> dict[str, str]:
    """The variable that lets this user into our own broker."""
    if own is None:
        return {}
    return {"FAMILYAI_BROKER_URL": broker_users.url_of(user, own.passwords.get(user, ""), f"{LOOPBACK}:{port}")}


def local_url(host: str, port: int) -> str:
    """Where a client on this machine finds a server that listens on `host`."""
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host and not host.startswith("[") else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    return host in (LOOPBACK, "localhost", "::1") or host.startswith("127.")


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    """`-P`: a folder called `api` where the user happens to stand is not ours."""
    return (sys.executable, "-P", "-m", module, *arguments)


def _broker(home: Home, env: Mapping[str, str], binary: str, url: str) -> ProcessSpec:
    return ProcessSpec(
        name=BROKER,
        argv=(binary, str(home.broker_config)),
        env=env,
        log=home.log(BROKER),
        probe=PingProbe(url),
        start_timeout_s=START_TIMEOUT_S,
        stop_timeout_s=STOP_TIMEOUT_S,
        stage=BROKER,
        farewell=Erasure(url),
    )


def _worker(queue: str, model: Model, port: int, drain_s: float, home: Home, env: Mapping[str, str]) -> ProcessSpec:
    return ProcessSpec(
        name=f"worker {queue}",
        argv=_python("workers", queue, "--port", str(port)),
        env={**env, **model.env},
        log=home.log(f"worker {queue}"),
        probe=HttpProbe(f"{local_url(LOOPBACK, port)}/health"),
        start_timeout_s=MODEL_LOAD_TIMEOUT_S,
        stop_timeout_s=drain_s + STOP_TIMEOUT_S,
        stage="workers",
    )


def _front(home: Home, env: Mapping[str, str], health_url: str, drain_s: float) -> ProcessSpec:
    return ProcessSpec(
        name=FRONT,
        argv=_python("api"),
        env=env,
        log=home.log(FRONT),
        probe=HttpProbe(health_url),
        start_timeout_s=START_TIMEOUT_S,
        stop_timeout_s=drain_s + STOP_TIMEOUT_S,
        stage=FRONT,
    )


def _flower(home: Home, env: Mapping[str, str], port: int, url: str, password: str) -> ProcessSpec:
    return ProcessSpec(
        name=FLOWER,
        argv=_python("celery", "-A", "familyai.flower:app", "flower", f"--address={LOOPBACK}", f"--port={port}"),
        env={**env, "FLOWER_BASIC_AUTH": f"familyai:{password}", "FLOWER_PERSISTENT": "false"},
        log=home.log(FLOWER),
        probe=HttpProbe(f"{url}/healthcheck"),
        start_timeout_s=START_TIMEOUT_S,
        stop_timeout_s=STOP_TIMEOUT_S,
        stage=FLOWER,
    )


def _ports(settings: Settings, queues: list[str], own_broker: bool) -> tuple[Port, ...]:
    broker = [Port(settings.broker_port, BROKER, "FAMILYAI_BROKER_PORT")] if own_broker else []
    workers = [
        Port(settings.worker_port + index, f"worker {queue}", "FAMILYAI_WORKER_PORT")
        for index, queue in enumerate(queues)
    ]
    front = Port(settings.port, FRONT, "FAMILYAI_PORT")
    return (*broker, *workers, front, Port(settings.flower_port, FLOWER, "FAMILYAI_FLOWER_PORT"))
