"""The audit finds what is known, accepts what it was told to, and does without a database that is out of reach."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from scripts import audit
from tests.support import free_port

pytest.importorskip("pip_audit")

VULNERABLE = {
    "id": "GHSA-1",
    "aliases": ["CVE-1"],
    "published": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "soup", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
        }
    ],
}


class Database(BaseHTTPRequestHandler):
    """OSV's, which knows of one package."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        known = {"vulns": [VULNERABLE]} if asked["package"]["name"] == "soup" else {}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(known).encode())

    def log_request(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def database() -> Iterator[list[str]]:
    """The arguments with which pip-audit asks it."""
    with HTTPServer(("127.0.0.1", 0), Database) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield ["--osv-url", f"http://127.0.0.1:{server.server_port}/v1/query"]
        server.shutdown()
        thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock.txt"
    path.write_text("".join(f"{name}==1.0 --hash=sha256:{'0' * 64}\n" for name in ("bread", "soup")))
    return path


def test_what_is_vulnerable_is_named_with_what_mends_it(lock: Path, database: list[str]) -> None:
    report = audit.audit([lock], [], database)
    assert report is not None
    assert list(audit.vulnerabilities(report)) == ["  soup 1.0: CVE-1, mended in 2.0"]


def test_what_was_accepted_is_passed_over(lock: Path, database: list[str]) -> None:
    report = audit.audit([lock], audit.accepted_ids("# why\n\nCVE-1 we eat none, until 2027\n"), database)
    assert report is not None
    assert len(report["dependencies"]) == 2
    assert list(audit.vulnerabilities(report)) == []


def test_a_database_out_of_reach_is_said_and_no_failure(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ["--osv-url", f"http://127.0.0.1:{free_port()}/v1/query"]
    assert audit.audit([lock], [], nowhere) is None
    assert audit.main(nowhere) == 0
    assert capsys.readouterr().out == "audit: left out, for the database of vulnerabilities cannot be reached\n"


def test_a_lock_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(audit.AuditFailed, match=r"nothing\.txt"):
        audit.audit([tmp_path / "nothing.txt"], [])
