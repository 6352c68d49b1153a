"""What one process writes, another reads; and bytes of any other origin end in the one error that callers expect."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.errors import DecodeError
from familyai.frame import FRAME_VERSION, Body, End, Failed, Start, Tokens, decode_frames, encode_frames
from familyai.job import JOB_VERSION, Blob, Job, decode_job, encode_job, new_job_id
from familyai.lanes import Priority
from tests.support import a_job

Decode = Callable[[bytes], Any]

counts = st.integers(0, 2**31)
seconds = st.floats(0, 1e10)
tokens = st.builds(Tokens, prompt=counts, ids=st.lists(st.lists(counts, max_size=4).map(tuple), max_size=3).map(tuple))
position = (st.text(), counts, counts)
header_bytes = st.lists(st.tuples(st.binary(), st.binary()), max_size=4).map(tuple)
frames = st.one_of(
    st.builds(Start, *position, st.integers(100, 599), header_bytes, st.text(), seconds),
    st.builds(Body, *position, st.binary(max_size=200), st.none() | tokens),
    st.builds(End, *position, st.none() | tokens),
    st.builds(Failed, *position, st.text(), st.text()),
)
batches = st.lists(frames, max_size=5).map(tuple)
jobs = st.builds(
    Job,
    id=st.text(),
    queue=st.text(),
    model=st.text(),
    member=st.text(),
    front=st.text(),
    method=st.text(),
    path=st.text(),
    headers=st.lists(st.tuples(st.text(), st.text()), max_size=4).map(tuple),
    body=st.binary(max_size=200),
    blob=st.none() | st.builds(Blob, st.text(), counts, counts),
    tail=st.binary(max_size=20),
    priority=st.sampled_from(Priority),
    width=counts,
    created_at_s=seconds,
)
JOB = a_job(body=b"body")
BATCH = (
    Start("job-1", 1, 0, 200, ((b"content-type", b"text/event-stream"),), "w", 0.5),
    Body("job-1", 1, 1, b"data: {}\n\n", Tokens(prompt=3, ids=((7, 8), (9,)))),
    End("job-1", 1, 2),
)
DECODERS = pytest.mark.parametrize("decode", [decode_job, decode_frames])
WHOLE = pytest.mark.parametrize(
    ("decode", "data"), [(decode_job, encode_job(JOB)), (decode_frames, encode_frames(BATCH))]
)


def read_or_refuse(decode: Decode, data: bytes) -> None:
    """Both are right for bytes that nobody vouches for; any other exception is not."""
    try:
        decode(data)
    except DecodeError:
        return


@given(jobs)
def test_a_job_comes_back_as_it_was(job: Job) -> None:
    assert decode_job(encode_job(job)) == job


@given(batches)
def test_frames_come_back_as_they_were(batch: tuple[Any, ...]) -> None:
    assert decode_frames(encode_frames(batch)) == batch


@given(tokens)
def test_generated_tokens_are_counted_over_all_choices(made: Tokens) -> None:
    assert made.generated == len([token for choice in made.ids for token in choice])


@WHOLE
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_message_is_refused(decode: Decode, data: bytes, share: float) -> None:
    with pytest.raises(DecodeError):
        decode(data[: int(len(data) * share)])


@WHOLE
@given(extra=st.binary(min_size=1))
def test_a_message_with_something_behind_it_is_refused(decode: Decode, data: bytes, extra: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data + extra)


@WHOLE
@given(st.data())
def test_a_mutated_message_is_read_or_refused(decode: Decode, data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    read_or_refuse(decode, data[:at] + draw.draw(st.binary(max_size=4)) + data[at + 1 :])


@DECODERS
@given(data=st.binary())
def test_foreign_bytes_are_read_or_refused(decode: Decode, data: bytes) -> None:
    read_or_refuse(decode, data)


def nested(head: bytes) -> bytes:
    """A value of this kind, with arrays in arrays in a place that no reader looks at."""
    return head + b"\x91" * 100_000 + b"\x90"


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (decode_job, b""),
        (decode_job, b"\xc0"),
        (decode_job, b"\x80"),
        (decode_job, b"\x81\xa2id\xa1\xff"),
        (decode_job, b"\xdf\xff\xff\xff\xff"),
        (decode_job, nested(b"\x81\xa1x")),
        (decode_job, encode_frames(BATCH)),
        (decode_frames, b"{}"),
        (decode_frames, b"\x92\x01\xdd\xff\xff\xff\xff"),
        (decode_frames, nested(b"\x93\x01\x90")),
        (decode_frames, msgspec.msgpack.encode([FRAME_VERSION, [[99, "job-1", 1, 0]]])),
        (decode_frames, encode_job(JOB)),
    ],
)
def test_what_is_none_of_ours_is_refused(decode: Decode, data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data)


@given(st.integers(-(2**63), 2**64 - 1).filter(lambda version: version != JOB_VERSION))
def test_a_job_of_another_version_is_refused(version: int) -> None:
    with pytest.raises(DecodeError, match="version"):
        decode_job(encode_job(msgspec.structs.replace(JOB, version=version)))


@given(batches, st.integers(-(2**63), 2**64 - 1).filter(lambda version: version != FRAME_VERSION))
def test_frames_of_another_version_are_refused(batch: tuple[Any, ...], version: int) -> None:
    with pytest.raises(DecodeError, match="version"):
        decode_frames(msgspec.msgpack.encode([version, batch]))


def test_the_error_repeats_nothing_of_the_content() -> None:
    with pytest.raises(DecodeError) as raised:
        decode_job(msgspec.msgpack.encode({"id": 1, "body": b"secret prompt"}))
    assert "secret" not in str(raised.value)


def test_job_ids_are_unique_and_fit_into_a_url() -> None:
    made = {new_job_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(job_id.removeprefix("job-").isalnum() for job_id in made)
