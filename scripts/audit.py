"""Looks every pinned package up among the known vulnerabilities (OSV's, by pip-audit); `make check` runs it.

Fails when one has a vulnerability that `locks/accepted.txt` does not name. Where the database cannot be reached it says
so in one line and passes: who has no way out has their checks all the same.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LOCKS = Path(__file__).parents[1] / "locks"
TIMEOUT_S = 15
LIMIT_S = 300
_UNREACHABLE = ("requests.exceptions.", "ConnectionError", "ServiceError")


class AuditFailed(Exception):
    """pip-audit could not do its work, and not for want of a way out."""


def main(arguments: Sequence[str]) -> int:
    """1 when something is vulnerable; further `arguments` are pip-audit's."""
    accepted = accepted_ids((LOCKS / "accepted.txt").read_text(encoding="utf-8"))
    report = audit([LOCKS / "embedded.txt", LOCKS / "dev.txt"], accepted, arguments)
    if report is None:
        print("audit: left out, for the database of vulnerabilities cannot be reached")
        return 0
    found = list(vulnerabilities(report))
    print("\n".join([f"audit: {len(report['dependencies'])} packages, {len(found)} known vulnerabilities", *found]))
    return 1 if found else 0


def accepted_ids(text: str) -> list[str]:
    """The first word of each line that is no comment."""
    return [line.split()[0] for line in text.splitlines() if line.strip() and not line.startswith("#")]


def audit(locks: Sequence[Path], accepted: Sequence[str], arguments: Sequence[str] = ()) -> dict[str, Any] | None:
    """pip-audit's report; None when the database cannot be reached. Raises AuditFailed."""
    words = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    words += ["--vulnerability-service", "osv", "--timeout", str(TIMEOUT_S), *arguments]
    words += [word for lock in locks for word in ("--requirement", str(lock))]
    words += [word for one in accepted for word in ("--ignore-vuln", one)]
    try:
        ran = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return None
    if ran.stdout.strip():
        report: dict[str, Any] = json.loads(ran.stdout)
        return report
    last = ran.stderr.strip().splitlines()[-1]
    if any(word in last for word in _UNREACHABLE):
        return None
    raise AuditFailed(last)


def vulnerabilities(report: dict[str, Any]) -> Iterator[str]:
    """A line for each: what has it, and which version has it no more."""
    for package in report["dependencies"]:
        for one in package.get("vulns", ()):
            mended = ", ".join(one["fix_versions"]) or "no version yet"
            yield f"  {package['name']} {package['version']}: {one['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
