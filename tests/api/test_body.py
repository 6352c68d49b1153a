import pytest

from api.body import MOST_VALUES, parse, write
from familyai.errors import BadRequest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'"model"',
        b"null",
        b"7",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b"{'a': 1}",
        b'{"a": 1}{"b": 2}',
    ],
)
def test_what_is_no_json_object_is_a_bad_request(data: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(data)

    assert caught.value.code == "invalid_json"


def test_of_a_key_that_comes_twice_the_checked_value_is_the_one_that_runs() -> None:
    assert write(parse(b'{"n": 1000, "n": 1}')) == b'{"n":1}'


def test_what_can_be_read_but_not_written_is_too_deep() -> None:
    with pytest.raises(BadRequest, match="too deep"):
        write(parse(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"))


@pytest.mark.parametrize("part", [b"1", b"[]", b"{}", b'{"a":1}', b'""'])
def test_more_values_than_any_model_takes_are_not_even_parsed(part: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(b'{"a":[' + b",".join([part] * (MOST_VALUES + 1)) + b"]}")

    assert caught.value.code == "too_complex"
    assert parse(b'{"a":[' + b",".join([b"1"] * (MOST_VALUES - 2)) + b"]}")
