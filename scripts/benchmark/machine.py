"""What the figures were taken on."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("celery", "kombu", "redis", "fastapi", "starlette", "uvicorn", "uvloop", "httptools")


@dataclass(frozen=True)
class Machine:
    """`load_average` is the one-minute figure before the run: above 0.5, somebody else was at work too."""

    cores: int
    cpu: str
    python: str
    versions: dict[str, str]
    load_average: float

    @property
    def words(self) -> str:
        packages = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return (
            f"{self.cores} cores ({self.cpu}), Python {self.python}, {packages}; "
            f"load average before the run {self.load_average:.2f}"
        )


def this_machine() -> Machine:
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=_cpu_model(),
        python=platform.python_version(),
        versions={name: version(name) for name in _PACKAGES},
        load_average=os.getloadavg()[0],
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
