import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.errors import DecodeError
from familyai.past import NOTHING, Past, decode_past, encode_past

IDS = st.lists(st.integers(0, 2**31), max_size=5).map(tuple)


@given(st.builds(Past, st.integers(0, 10_000), st.lists(IDS, max_size=5).map(tuple)))
def test_it_arrives_as_it_was_sent(past: Past) -> None:
    assert decode_past(encode_past(past)) == past


def test_a_first_attempt_has_none() -> None:
    assert decode_past(None) == NOTHING == Past(0, ())


@given(st.binary(min_size=1))
def test_what_is_none_is_refused(data: bytes) -> None:
    try:
        decode_past(data)
    except DecodeError:
        return
    assert encode_past(decode_past(data)) is not None


def test_another_shape_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode_past(b"\x93\x01\x02")
