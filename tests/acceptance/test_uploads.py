"""Uploads of any size pass through the front, and are never in it."""

from collections.abc import Iterator

import httpx
import psutil

from tests.acceptance.conftest import Household

GIGABYTE = 1_000_000_000
MOST_GROWTH_MB = 50


def chunks(total_bytes: int) -> Iterator[bytes]:
    yield (
        b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="archive.wav"\r\n\r\n'
    )
    piece = bytes(1_000_000)
    for _ in range(total_bytes // len(piece)):
        yield piece
    yield b"\r\n--B--\r\n"


def front_of(household: Household) -> psutil.Process:
    """The process that listens on the front's port."""
    port = int(household.url.rsplit(":", 1)[1])
    listening = [conn for conn in psutil.net_connections("tcp4") if conn.laddr.port == port and conn.status == "LISTEN"]
    return psutil.Process(listening[0].pid)


def test_a_gigabyte_does_not_grow_the_front(household: Household, http: httpx.Client) -> None:
    front = front_of(household)
    headers = {"content-type": "multipart/form-data; boundary=B"}
    before_mb = front.memory_info().rss / 1e6
    peak_mb = before_mb

    def watched() -> Iterator[bytes]:
        nonlocal peak_mb
        for number, chunk in enumerate(chunks(GIGABYTE)):
            if number % 50 == 0:
                peak_mb = max(peak_mb, front.memory_info().rss / 1e6)
            yield chunk

    made = http.post("/v1/files", content=watched(), headers=headers)
    peak_mb = max(peak_mb, front.memory_info().rss / 1e6)
    print(f"the front grew by {peak_mb - before_mb:.1f} MB while 1,000 MB were uploaded")
    assert made.status_code == 200, made.text
    assert made.json()["bytes"] == GIGABYTE
    assert peak_mb - before_mb < MOST_GROWTH_MB
    gone = http.delete(f"/v1/files/{made.json()['id']}")
    assert gone.json()["deleted"] is True
    assert not (household.home / "blobs" / "files" / made.json()["id"]).exists()
