"""Webhooks over a real HTTP server: what arrives, what is tried again, and where nothing is ever sent."""

import datetime
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api.signing import signed_headers
from api.work.webhook import MOST_ANSWER_BYTES, SCHEDULE_S, Delivery, check_url, deliver, is_public
from familyai.errors import BadRequest

SECRET = "whsec_" + "AAEC" * 8
EVENT = {"type": "transcription.job.completed", "data": {"id": "transcription-1", "name": "Großmutter.m4a"}}
HERE = ("localhost", "127.0.0.1")


class Receiver:
    """Answers each request with the next status, and the last one from then on."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.answer = b""
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.was_left = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                statuses = receiver.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.send_header("location", "/elsewhere")
                self.end_headers()
                self._answer()

            def _answer(self) -> None:
                try:
                    self.wfile.write(receiver.answer)
                except OSError:
                    receiver.was_left.set()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook?for=mum"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


class Clock:
    """Sleeps that only remember."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Names:
    """Name servers that say what the test says, one answer after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        if not (answer := self.answers.pop(0)):
            raise OSError("no such host")
        return answer


async def sent(url: str, hosts: tuple[str, ...] = HERE, **options: Any) -> Delivery:
    options.setdefault("sleep", Clock().sleep)
    return await deliver(url, EVENT, event_id="evt_1", secret=SECRET, hosts=hosts, **options)


async def test_it_arrives_signed(receiver: Receiver) -> None:
    delivery = await sent(receiver.url)
    assert delivery.delivered_at_s
    assert (delivery.tries, delivery.error) == (1, None)
    ((path, headers, body),) = receiver.requests
    assert path == "/hook?for=mum"
    assert json.loads(body) == EVENT
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    signed = signed_headers(SECRET, "evt_1", int(headers["webhook-timestamp"]), body)
    assert signed.items() <= headers.items()


async def test_what_fails_is_tried_again_by_the_schedule(receiver: Receiver) -> None:
    receiver.statuses, clock = [500, 404, 204], Clock()
    delivery = await sent(receiver.url, sleep=clock.sleep)
    assert (delivery.tries, delivery.error) == (3, None)
    assert clock.slept == list(SCHEDULE_S[:3])
    assert {headers["webhook-id"] for _, headers, _ in receiver.requests} == {"evt_1"}
    assert len({body for _, _, body in receiver.requests}) == 1


async def test_after_the_schedule_it_is_over(receiver: Receiver) -> None:
    receiver.statuses = [503]
    assert await sent(receiver.url) == Delivery(None, 5, "status_503")
    assert len(receiver.requests) == 5


async def test_gone_is_gone(receiver: Receiver) -> None:
    receiver.statuses = [410]
    assert await sent(receiver.url) == Delivery(None, 1, "status_410")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status, 410]
    assert await sent(receiver.url) == Delivery(None, 2, "status_410")
    assert [path for path, _, _ in receiver.requests] == ["/hook?for=mum"] * 2


async def test_an_endless_answer_is_left(receiver: Receiver) -> None:
    receiver.answer = bytes(MOST_ANSWER_BYTES * 500)
    assert (await sent(receiver.url)).error is None
    assert receiver.was_left.wait(20)


async def test_nobody_there_is_a_word_and_not_an_exception() -> None:
    assert await sent("http://127.0.0.1:9/") == Delivery(None, 5, "unreachable")


async def test_an_unknown_name_may_be_known_later(receiver: Receiver) -> None:
    names = Names([], ["127.0.0.1"])
    delivery = await sent(f"http://localhost:{receiver.port}/", resolve=names)
    assert (delivery.tries, delivery.error) == (2, None)


async def test_a_label_that_no_name_server_takes(receiver: Receiver) -> None:
    assert (await sent(f"https://{'a' * 70}.example/", hosts=("*",))).error in {"unknown_host", "invalid_url"}


async def test_one_way_to_a_host_may_be_closed(receiver: Receiver) -> None:
    delivery = await sent(f"http://localhost:{receiver.port}/", resolve=Names(["::1", "127.0.0.1"]))
    assert (delivery.tries, delivery.error) == (2, None)


PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "2001::1",
    "2002:7f00:1::",
    "fc00::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "no address",
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_private_addresses_are_refused(receiver: Receiver, address: str) -> None:
    for answer in ([address], ["93.184.215.14", address]):
        delivery = await sent(f"https://hooks.example:{receiver.port}/", hosts=("*",), resolve=Names(answer))
        assert delivery == Delivery(None, 1, "private_address")
    assert receiver.requests == []


def test_public_addresses_are_public() -> None:
    assert all(map(is_public, ("8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::1")))


async def test_a_name_is_resolved_once(receiver: Receiver) -> None:
    """A second answer, of a name server that changes its mind, is never asked for."""
    receiver.statuses, names = [500, 500, 200], Names(["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"])
    assert (await sent(f"http://localhost:{receiver.port}/", resolve=names)).tries == 3
    assert names.asked == 1


async def test_a_name_that_turns_private_after_the_check_is_never_connected_to(receiver: Receiver) -> None:
    """What was checked is connected to: the machine itself would resolve `localhost` to where the receiver is."""
    names = Names(["192.0.2.1"])
    delivery = await sent(f"https://localhost.:{receiver.port}/", hosts=("*",), resolve=names)
    assert delivery.error == "private_address"
    assert receiver.requests == []


async def test_a_host_that_is_no_longer_allowed_is_not_called(receiver: Receiver) -> None:
    assert await sent(receiver.url, hosts=()) == Delivery(None, 1, "webhooks_off")
    assert await sent(receiver.url, hosts=("elsewhere",)) == Delivery(None, 1, "webhook_not_allowed")
    assert receiver.requests == []


def certificate_for(host: str, folder: Path) -> Path:
    """A certificate that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = folder / "certificate.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(("host", "error"), [("hooks.example", None), ("other.example", "unreachable")])
async def test_the_certificate_must_be_the_hosts(
    receiver: Receiver, tmp_path: Path, host: str, error: str | None
) -> None:
    """Though what is connected to is an address."""
    certificate = certificate_for("hooks.example", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    trusted = ssl.create_default_context(cadata=certificate.read_text().partition("-----END PRIVATE KEY-----\n")[2])
    url = f"https://{host}:{receiver.port}/"
    assert (await sent(url, hosts=(host,), resolve=Names(["127.0.0.1"]), verify=trusted)).error == error
    assert [headers["host"] for _, headers, _ in receiver.requests] == (
        [f"{host}:{receiver.port}"] if not error else []
    )


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("https://hooks.example/x", ("hooks.example",)),
        ("http://nas.local:8123/x", ("nas.local",)),
        ("https://HOOKS.Example./x", ("hooks.example",)),
        ("https://hooks.example/x", ("*",)),
        ("https://8.8.8.8/", ("*",)),
        ("http://192.168.1.5/", ("*", "192.168.1.5")),
        ("http://[::1]:81/", ("::1",)),
        ("https://exämple.de/", ("xn--exmple-cua.de",)),
    ],
)
def test_allowed(url: str, hosts: tuple[str, ...]) -> None:
    check_url(url, hosts)


@pytest.mark.parametrize(
    ("url", "hosts", "code"),
    [
        ("https://hooks.example/", (), "webhooks_off"),
        ("nonsense", (), "webhooks_off"),
        ("https://other.example/", ("hooks.example",), "webhook_not_allowed"),
        ("https://hooks.example.evil.example/", ("hooks.example",), "webhook_not_allowed"),
        ("http://hooks.example/", ("*",), "webhook_not_allowed"),
        ("https://*/", ("hooks.example",), "webhook_not_allowed"),
        ("http://*/", ("*",), "webhook_not_allowed"),
        *((f"https://{host}/", ("*",), "webhook_not_allowed") for host in ("127.0.0.1", "[::1]", "[::ffff:7f00:1]")),
        *(
            (url, ("*", "h"), "invalid_url")
            for url in (
                "",
                "h",
                "//h/",
                "ftp://h/",
                "file:///etc/passwd",
                "https:///x",
                "https://mum@h/",
                "https://mum:secret@h/",
                "https://h:0/",
                "https://h:99999/",
                "https://h\n/",
                "https://h%2f/",
                "https://[fe80::1%25eth0]/",
                "https://h/" + "x" * 2048,
            )
        ),
    ],
)
def test_refused(url: str, hosts: tuple[str, ...], code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_url(url, hosts)
    assert (refused.value.param, refused.value.code) == ("webhook_url", code)
