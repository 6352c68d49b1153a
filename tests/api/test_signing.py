"""The secret of webhooks, and what is signed with it."""

import base64
import hashlib
import hmac
import re
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from api.signing import load_secret, signed_headers, signing_key
from familyai.errors import ConfigurationError
from familyai.settings import Settings

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def test_the_signature_is_that_of_the_standard() -> None:
    headers = signed_headers(SECRET, "evt_1", 1700000000, b'{"a":1}')
    expected = hmac.new(KEY, b'evt_1.1700000000.{"a":1}', hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "evt_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": f"v1,{base64.b64encode(expected).decode()}",
    }


def test_the_standards_own_example() -> None:
    """Published with the specification, for whoever implements it."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_openais_client_takes_it_for_genuine_and_a_changed_body_not() -> None:
    client = openai.OpenAI(api_key="unused")
    headers = signed_headers(SECRET, "evt_1", int(time.time()), b'{"a":1}')
    client.webhooks.verify_signature(b'{"a":1}', headers, secret=SECRET)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(b'{"a":2}', headers, secret=SECRET)


def test_so_does_the_documents_own_example() -> None:
    text = (Path(__file__).parents[2] / "docs" / "speech.md").read_text()
    (example,) = re.findall(r"```python\n(import base64.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 (our own document)
    headers = signed_headers(SECRET, "evt_1", 1, b"x")
    assert names["is_genuine"](b"x", headers, SECRET)
    assert not names["is_genuine"](b"y", headers, SECRET)


def test_the_environments_secret_comes_first(tmp_path: Path) -> None:
    assert load_secret(Settings(home=tmp_path, webhook_secret=SECRET)) == SECRET
    assert list(tmp_path.iterdir()) == []


def test_without_one_the_home_makes_one_and_keeps_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", webhook_secret="")
    secret = load_secret(settings)
    assert len(signing_key(secret)) == 32
    assert load_secret(settings) == secret
    (kept,) = settings.home.iterdir()
    assert kept.read_text().strip() == secret
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_fronts_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(load_secret, [Settings(home=tmp_path, webhook_secret="")] * 32))
    assert len(set(made)) == 1


@pytest.mark.parametrize(
    "secret", ["hush-hush", SECRET[6:], "whsec_", "whsec_c2hvcnQ=", "whsec_" + "-_" * 20, SECRET + "!", "whsec_ä"]
)
def test_a_secret_that_is_none_is_refused_and_not_told(tmp_path: Path, secret: str) -> None:
    with pytest.raises(ConfigurationError, match="FAMILYAI_WEBHOOK_SECRET") as refused:
        load_secret(Settings(home=tmp_path, webhook_secret=secret))
    assert secret == "whsec_" or secret not in str(refused.value)
