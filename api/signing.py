"""How a webhook proves that this household sent it: the Standard Webhooks scheme (standardwebhooks.com), as OpenAI's.

Signed is `id.timestamp.body`, with HMAC-SHA256 and a secret that both sides know: `whsec_` and the key in base64.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from familyai.errors import ConfigurationError
from familyai.settings import Settings

PREFIX = "whsec_"
FILE = "webhook.password"
KEY_BYTES, LEAST_KEY_BYTES = 32, 24


def load_secret(settings: Settings) -> str:
    """FAMILYAI_WEBHOOK_SECRET, or what the home keeps in `webhook.password`, made at the first call.

    Raises ConfigurationError for a secret that is none, and OSError where the home cannot be written.
    """
    secret = settings.webhook_secret.get_secret_value() or _kept(settings.home)
    signing_key(secret)
    return secret


def signing_key(secret: str) -> bytes:
    """Raises ConfigurationError, which does not tell the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) < LEAST_KEY_BYTES:
        raise ConfigurationError(
            f"FAMILYAI_WEBHOOK_SECRET (or {FILE} in the home) must be {PREFIX} and at least {LEAST_KEY_BYTES} bytes "
            f'in base64, as from: echo "{PREFIX}$(openssl rand -base64 {KEY_BYTES})"'
        )
    return key


def signed_headers(secret: str, event_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """`event_id` stays the same however often the event is sent: by it a receiver knows what it has seen."""
    message = f"{event_id}.{timestamp_s}.".encode() + body
    digest = hmac.new(signing_key(secret), message, hashlib.sha256).digest()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _kept(home: Path) -> str:
    """Whoever comes first makes it, whole at once; several front processes may start together."""
    path = home / FILE
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = home / f"{FILE}.{secrets.token_hex(4)}.part"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(f"{PREFIX}{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n")
        with suppress(FileExistsError):
            os.link(part, path)
        part.unlink()
    return path.read_text(encoding="utf-8").strip()
