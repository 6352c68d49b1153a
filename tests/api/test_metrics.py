"""What counts as an answer's first byte."""

from starlette.types import Message

from api.metrics import _Timing


async def nowhere(message: Message) -> None:
    return


async def test_a_comment_on_the_wait_is_no_first_byte() -> None:
    timing = _Timing(nowhere)
    await timing.send({"type": "http.response.start", "status": 200, "headers": []})
    await timing.send({"type": "http.response.body", "body": b": queued position=1\n", "more_body": True})
    assert timing.first_byte_s is None
    await timing.send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
    assert timing.first_byte_s is not None
    assert timing.outcome == 499
    await timing.send({"type": "http.response.body", "body": b""})
    assert timing.outcome == 200
