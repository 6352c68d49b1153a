"""A front that commands talk to: it keeps files and one transcription job, and breaks off when told to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from python_multipart import parse_form

from familyai.usage import Usage

JOB = "/v1/transcription-jobs/transcription-1"
SET_ASIDE = "/v1/jobs?set_aside=true"
VOICES = {"voices": [{"id": "joe", "name": "joe"}, {"id": "alba", "name": "alba"}]}


class FakeApi:
    """`refused` names files that are not taken; `events` are what is told of the job, connection by connection."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, bytes]] = {}
        self.job: dict[str, Any] | None = None
        self.order: dict[str, Any] = {}
        self.refused: dict[str, str] = {}
        self.failing: dict[str, str] = {}
        self.events: list[list[str]] = []
        self.last_ids: list[str | None] = []
        self.broken: dict[str, int] = {}
        self.calls: list[str] = []
        self.usage: list[Usage] = []
        self.queues: list[dict[str, Any]] = []
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.speech: list[dict[str, Any]] = []
        self.routed: list[tuple[dict[str, Any], str | None]] = []
        self.decision: dict[str, Any] = {}
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.marks: list[list[dict[str, Any]]] = []
        self.sound: tuple[int, bytes] = (200, b"ID3sound")
        self.reached = threading.Event()
        self.release = threading.Event()
        self.hangs_at = ""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def make_job(self, order: dict[str, Any]) -> dict[str, Any]:
        """Over at once, unless there are events to tell before."""
        self.order = order
        formats = order["formats"].split(",")
        names = [self.files[file_id][0] for file_id in order["file_ids"]]
        files = [self._file(index, name, formats) for index, name in enumerate(names)]
        self.job = {"id": "transcription-1", "status": "completed", "files": files, "error": None}
        if all(file["status"] == "failed" for file in files):
            self.job |= {"status": "failed", "error": {"code": "all_files_failed", "message": "none could be"}}
        self.job["progress"] = {"done_s": 9.0, "total_s": 9.0, "percent": 100, "eta_s": 0.0}
        return self.seen()

    def _file(self, index: int, name: str, formats: list[str]) -> dict[str, Any]:
        error = {"code": "bad_audio", "message": self.failing[name]} if name in self.failing else None
        results = {} if error else {kind: f"{JOB}/files/{index}/{kind}" for kind in formats}
        status = "failed" if error else "completed"
        told = {"index": index, "name": name, "status": status, "duration_s": 9.0, "done_s": 9.0, "language": "en"}
        return {**told, "error": error, "results": results}

    def seen(self) -> dict[str, Any]:
        """The job as a client sees it: under way while there is something left to tell."""
        assert self.job is not None
        if not self.events:
            return self.job
        under_way = [{**file, "status": "queued", "done_s": 0.0, "results": {}} for file in self.job["files"]]
        progress = {"done_s": 0.0, "total_s": None, "percent": 0, "eta_s": None}
        return {**self.job, "status": "running", "files": under_way, "progress": progress}


def event(number: int, name: str, **data: Any) -> str:
    progress = {"done_s": 1.0, "total_s": 9.0, "percent": 11.1, "eta_s": 3.0}
    body = json.dumps({"id": "transcription-1", "progress": progress, **data})
    return f"id: {number}-0\nevent: {name}\ndata: {body}\n\n"


class _Handler(BaseHTTPRequestHandler):
    api: FakeApi

    def do_GET(self) -> None:
        if self._begins():
            return
        plain = {"/v1/models": {"data": []}, "/v1/audio/voices": VOICES, "/v1/queue": {"data": self.api.queues}}
        plain |= {path: {"data": self.api.jobs.get(path, [])} for path in ("/v1/jobs", SET_ASIDE)}
        if self.path in plain:
            self._say(200, plain[self.path])
        elif self.path.startswith("/v1/usage?"):
            self._say(200, {"data": msgspec.to_builtins(self.api.usage)})
        elif self.path.startswith("/v1/route/feedback?"):
            self._say(200, self._marks(parse_qs(urlsplit(self.path).query).get("after", [""])[0]))
        elif self.path == JOB:
            self._say(200, self.api.seen())
        elif self.path == f"{JOB}/events":
            self._tell()
        elif self.path.startswith(f"{JOB}/files/"):
            index, kind = self.path.split("/")[-2:]
            self._send(
                200, "text/plain", f"{kind} of {self.api.job and self.api.job['files'][int(index)]['name']}".encode()
            )
        else:
            self._refuse(404, f"there is no {self.path}")

    def do_POST(self) -> None:
        if self._begins():
            return
        if self.path == "/v1/files":
            self._take_file()
            return
        body = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or b"{}")
        if self.path == "/v1/audio/speech":
            self.api.speech.append(body)
            self._speak(*self.api.sound)
        elif self.path == "/v1/route":
            self.api.routed.append((body, self.headers["x-familyai-prefer"]))
            self._say(200, self.api.decision)
        elif self.path.endswith("/feedback"):
            self.api.told.append((self.path, body))
            self._say(200, {"chosen": "chat-fast", "kind": body.get("kind")})
        elif self.path.endswith("/cancel"):
            self._say(200, {"id": "transcription-1", "status": "cancelled", "files": []})
        elif "job" in self.api.refused:
            self._refuse(400, self.api.refused["job"])
        else:
            self._say(200, self.api.make_job(body))

    def do_DELETE(self) -> None:
        if not self._begins():
            self.api.files.pop(self.path.rsplit("/", 1)[1], None)
            self._say(200, {"deleted": True})

    def _begins(self) -> bool:
        """True when the connection has been cut instead, or somebody else has been refused."""
        call = f"{self.command} {self.path}"
        self.api.calls.append(call)
        if call == self.api.hangs_at:
            self.api.reached.set()
            self.api.release.wait(20)
        if self.headers["authorization"] != "Bearer fai-k":
            self._refuse(401, "this key is wrong")
            return True
        if self.api.broken.get(call, 0) > 0:
            self.api.broken[call] -= 1
            self.close_connection = True
            return True
        return False

    def _take_file(self) -> None:
        found: list[tuple[str, bytes]] = []

        def keep(file: Any) -> None:
            file.file_object.seek(0)
            found.append((file.file_name.decode(), file.file_object.read()))

        headers = {name: self.headers[name].encode() for name in ("Content-Type", "Content-Length")}
        parse_form(headers, self.rfile, lambda _: None, keep)
        ((name, data),) = found
        if name in self.api.refused:
            self._refuse(413, self.api.refused[name])
            return
        file_id = f"file-{len(self.api.files)}"
        self.api.files[file_id] = (name, data)
        self._say(200, {"id": file_id})

    def _marks(self, after: str) -> dict[str, Any]:
        """The page after the one that ends with this id."""
        pages = self.api.marks or [[]]
        at = next((number for number, page in enumerate(pages, 1) if page and page[-1]["id"] == after), 0)
        last = pages[at][-1]["id"] if pages[at] else None
        return {"data": pages[at], "last_id": last, "has_more": at + 1 < len(pages)}

    def _tell(self) -> None:
        self.api.last_ids.append(self.headers["last-event-id"])
        told = self.api.events.pop(0) if self.api.events else []
        self._send(200, "text/event-stream", "".join(told).encode())

    def _speak(self, status: int, sound: bytes) -> None:
        if status != 200:
            self._refuse(status, sound.decode())
            return
        self.send_response(200)
        self.send_header("content-length", str(len(sound.replace(b"<cut>", b"12345"))))
        self.end_headers()
        self.wfile.write(sound.replace(b"<cut>", b""))

    def _refuse(self, status: int, message: str) -> None:
        self._say(status, {"error": {"message": message, "type": "x", "param": None, "code": None}})

    def _say(self, status: int, body: Any) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
