"""For whom a trusted key speaks: which headers count, and which tokens."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.datastructures import Headers

from api.forwarded import TOKEN, Person, person
from familyai.errors import BadRequest, Unauthorized

SECRET = "a secret that is long enough for any algorithm of the family, HS512 too"
PLAIN = {"x-openwebui-user-id": "u-9", "x-openwebui-user-name": "Mallory", "x-openwebui-user-role": "admin"}


def claims(**other: Any) -> dict[str, Any]:
    """As Open WebUI 0.12.4 mints them; None leaves one out."""
    now = int(time.time())
    ordinary = {"sub": "u-1", "email": "leo@home", "name": "Leo", "role": "admin", "iss": "open-webui"}
    made = {**ordinary, "iat": now, "exp": now + 300, **other}
    return {name: value for name, value in made.items() if value is not None}


def token(secret: Any = SECRET, algorithm: str = "HS256", **other: Any) -> str:
    return jwt.encode(claims(**other), secret, algorithm=algorithm)


def unsigned(header: dict[str, Any], payload: Any, signature: str = "") -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload))
    return ".".join((*parts, signature))


def signed(payload: Any) -> str:
    """Whatever it says."""
    return jwt.api_jws.encode(json.dumps(payload).encode(), SECRET, "HS256")


def of_token(text: str) -> Headers:
    return Headers({TOKEN: text, **PLAIN})


def test_a_signed_user() -> None:
    assert person(of_token(token()), SECRET) == Person("u-1", "Leo")


def test_clocks_may_differ_a_little() -> None:
    assert person(of_token(token(exp=int(time.time()) - 2, iat=int(time.time()) + 3)), SECRET) == Person("u-1", "Leo")


@pytest.mark.parametrize("name", [None, 7, ["Leo"]])
def test_a_name_is_not_needed(name: Any) -> None:
    assert person(of_token(token(name=name)), SECRET) == Person("u-1", "")


WRONG: dict[str, Callable[[], str]] = {
    "wrong secret": lambda: token(secret=SECRET + "!"),
    "no secret": lambda: unsigned({"alg": "none", "typ": "JWT"}, claims()),
    "algorithm in capitals": lambda: unsigned({"alg": "NONE"}, claims()),
    "unsigned HS256": lambda: unsigned({"alg": "HS256"}, claims()),
    "HS512": lambda: token(algorithm="HS512"),
    "RS256": lambda: token(rsa.generate_private_key(65537, 2048), "RS256"),
    "wrong issuer": lambda: token(iss="closed-webui"),
    "a list of issuers": lambda: signed(claims(iss=["open-webui"])),
    "no claims": lambda: signed(["u-1"]),
    "no issuer": lambda: token(iss=None),
    "no expiry": lambda: token(exp=None),
    "expiry is no number": lambda: token(exp="soon"),
    "no user": lambda: token(sub=None),
    "empty user": lambda: token(sub=""),
    "blank user": lambda: token(sub=" "),
    "user is a number": lambda: signed(claims(sub=1)),
    "user is a list": lambda: signed(claims(sub=["u-1"])),
    "user is true": lambda: signed(claims(sub=True)),
    "not yet": lambda: token(nbf=int(time.time()) + 100),
    "issued in the future": lambda: token(iat=int(time.time()) + 100),
    "for somebody else": lambda: token(aud="another-service"),
    "empty": lambda: "",
    "two parts": lambda: "a.b",
    "no token": lambda: "x" * 500,
    "no ASCII": lambda: "é.é.é",
    "nested": lambda: base64.urlsafe_b64encode(b'{"a":' + b"[" * 4000).decode() + ".e30.",
}
"""Made when they are tried: a token of the run's beginning would have expired by then."""


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_a_token_that_is_not_right(text: Callable[[], str]) -> None:
    headers = Headers(raw=[(TOKEN.encode(), text().encode("latin-1"))])
    with pytest.raises(Unauthorized) as raised:
        person(headers, SECRET)
    assert raised.value.code == "invalid_user_token"


def test_a_token_that_has_expired() -> None:
    with pytest.raises(Unauthorized) as raised:
        person(of_token(token(exp=int(time.time()) - 60)), SECRET)
    assert raised.value.code == "expired_user_token"


def test_with_a_secret_plain_headers_mean_nothing() -> None:
    """Open WebUI falls back to them when it cannot sign."""
    assert person(Headers(PLAIN), SECRET) is None


def test_without_a_secret_plain_headers_say_who() -> None:
    headers = Headers({"X-OpenWebUI-User-Id": "u-1", "X-OPENWEBUI-USER-NAME": "J%C3%BCrgen M"})
    assert person(headers, "") == Person("u-1", "Jürgen M")
    assert person(Headers({"x-openwebui-user-id": "u-1"}), "") == Person("u-1", "")


def test_a_name_that_is_no_text_is_still_somebody() -> None:
    assert person(Headers({"x-openwebui-user-id": "u-1", "x-openwebui-user-name": "%FF%"}), "") == Person("u-1", "�%")


@pytest.mark.parametrize("headers", [{}, {"x-openwebui-user-name": "Leo", "x-openwebui-user-email": "leo@home"}])
def test_without_an_id_nobody_is_meant(headers: dict[str, str]) -> None:
    assert person(Headers(headers), "") is None


def test_without_a_secret_a_token_means_nothing() -> None:
    assert person(Headers({TOKEN: token()}), "") is None


@pytest.mark.parametrize(
    ("secret", "name", "value"),
    [(SECRET, TOKEN, token()), ("", "x-openwebui-user-id", "u-1"), ("", "x-openwebui-user-name", "Leo")],
)
def test_a_header_that_comes_twice(secret: str, name: str, value: str) -> None:
    pairs = [(b"x-openwebui-user-id", b"u-1")] if name.endswith("name") else []
    pairs += [(name.encode(), value.encode()), (name.encode(), value.encode())]
    with pytest.raises(BadRequest) as raised:
        person(Headers(raw=pairs), secret)
    assert raised.value.code == "ambiguous_user"
