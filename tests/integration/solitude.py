"""A network that ends at this machine's own loopback: what tries to leave it is counted by the kernel, and named."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

# Imported by every Python process at its start: writes down whatever address it goes to, or looks up, outside.
WITNESS = """
import ipaddress, os, sys

def leaves(host):
    if not isinstance(host, str) or host in ("", "localhost"):
        return False
    try:
        return not (ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified)
    except ValueError:
        return True

def watch(event, args):
    if event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple):
        host = args[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0].decode() if isinstance(args[0], bytes) else args[0]
    else:
        return
    if leaves(host):
        with open(os.environ["WITNESS"], "a") as file:
            file.write(f"{event} {host} {' '.join(' '.join(sys.orig_argv).split())[:200]}\\n")

sys.addaudithook(watch)
"""

# Runs each command, one after the other, and says how often somebody found no way out meanwhile.
ALONE = """
import fcntl, json, pathlib, socket, struct, subprocess, sys

with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))  # SIOCSIFFLAGS: lo is up and running

def no_routes():
    names, values = (line.split() for line in open("/proc/net/snmp") if line.startswith("Ip:"))
    sixth = dict(line.split() for line in open("/proc/net/snmp6"))
    return int(dict(zip(names, values))["OutNoRoutes"]) + int(sixth["Ip6OutNoRoutes"])

before, results = no_routes(), []
for words in json.loads(sys.argv[1]):
    ran = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    results.append([ran.returncode, ran.stdout])
print(json.dumps([no_routes() - before, results]))
"""


@dataclass(frozen=True)
class Alone:
    """`ran`: exit code and output of each command; `attempts`: how often the kernel saw no way out; `named`: whose."""

    ran: list[tuple[int, str]]
    attempts: int
    named: list[str]


@lru_cache(maxsize=1)
def why_not() -> str:
    """Why this machine lets nobody have a network of their own; empty where it does."""
    try:
        ran = subprocess.run(["unshare", "--map-root-user", "--net", "true"], capture_output=True, text=True)
    except FileNotFoundError:
        return "there is no unshare here"
    return ran.stderr.strip() if ran.returncode else ""


def alone(folder: Path, commands: Sequence[Sequence[str]], env: Mapping[str, str]) -> Alone:
    """Runs the commands where there is nobody else. What they leave running stays there."""
    (folder / "witness").mkdir()
    (folder / "witness" / "sitecustomize.py").write_text(WITNESS)
    paths = os.pathsep.join(filter(None, [str(folder / "witness"), env.get("PYTHONPATH")]))
    environ = {**env, "PYTHONPATH": paths, "WITNESS": str(folder / "witness.log")}
    words = [
        "unshare",
        "--map-root-user",
        "--net",
        sys.executable,
        "-c",
        ALONE,
        json.dumps([list(c) for c in commands]),
    ]
    shown = subprocess.run(words, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout
    attempts, ran = json.loads(shown)
    log = folder / "witness.log"
    return Alone([(code, text) for code, text in ran], attempts, log.read_text().splitlines() if log.exists() else [])
