"""What the environment decides. Everything about models stands in `queues.yaml` (see `familyai.catalogue`)."""

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from familyai.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LEAST_SECRET_BYTES = 32
"""As many as HS256 signs with (RFC 7518, section 3.2)."""
Port = Annotated[int, Field(ge=1, le=65535)]
BROKER_URL_WORDS = "should be redis://USER:PASSWORD@HOST:PORT/0; in a password, what is no letter or digit as %xx"
_PLAIN = {
    "int_parsing": "should be a whole number",
    "greater_than_equal": "should be {ge} or more",
    "less_than_equal": "should be {le} or less",
}


class Settings(BaseSettings):
    """Read once at a process's start: `FAMILYAI_*` variables, then the files that `familyai up` left in its home."""

    # A variable that is set but empty counts as unset: an empty FAMILYAI_HOME is not the folder one stands in.
    model_config = SettingsConfigDict(env_prefix="FAMILYAI_", frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Field(Path(".familyai"), description="Where state, logs and converted models live.")
    profile: str = Field("embedded", description="Which profile of queues.yaml runs.")
    catalogue: Path = Field(Path("queues.yaml"), description="The catalogue of models.")
    host: str = Field("127.0.0.1", description="Address of the front; 0.0.0.0 lets the household in.")
    port: Port = Field(8080, description="Port of the front.")
    worker_port: Port = Field(
        8000, description="Port of the first worker's /health and /metrics; the next ones follow."
    )
    flower_port: Port = Field(5555, description="Port of the Flower dashboard.")
    broker_port: Port = Field(6380, description="Port of the broker that `familyai up` starts.")
    broker_url: SecretStr = Field(
        SecretStr(""), description="An existing Redis-compatible server; empty: `familyai up` starts its own."
    )
    blob_url: str = Field("", description="fsspec URL of the store for large bodies; empty: a folder in the home.")
    webhook_secret: SecretStr = Field(
        SecretStr(""), description="Signs webhooks; empty: one is made in the home when webhooks are allowed."
    )
    openwebui_jwt_secret: SecretStr = Field(
        SecretStr(""),
        description="Signs what Open WebUI says of its users; empty: trusted keys are believed their plain headers.",
    )
    trusted_proxies: str = Field(
        "", description="Addresses and networks, with commas, whose word on a client's address counts; empty: nobody's."
    )
    url: str = Field("", description="Where clients find the front; empty: host and port.")
    api_key: SecretStr = Field(SecretStr(""), description="The key that the command line presents.")

    @field_validator("openwebui_jwt_secret")
    @classmethod
    def _is_long_enough(cls, secret: SecretStr) -> SecretStr:
        if 0 < len(secret.get_secret_value().encode()) < LEAST_SECRET_BYTES:
            raise ValueError(f"should have {LEAST_SECRET_BYTES} bytes or more")
        return secret

    @field_validator("broker_url")
    @classmethod
    def _names_a_broker(cls, url: SecretStr) -> SecretStr:
        """Else the libraries that read it would quote from its password in what they say of it."""
        if url.get_secret_value() and not _is_broker_url(url.get_secret_value()):
            raise ValueError(BROKER_URL_WORDS)
        return url

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, listed: str) -> str:
        for part in _parts(listed):
            ipaddress.ip_network(part)
        return listed

    @property
    def proxies(self) -> list[str]:
        """The trusted ones; those of IPv4 also as a socket for both kinds of addresses sees them."""
        networks = [ipaddress.ip_network(part) for part in _parts(self.trusted_proxies)]
        mapped = [f"::ffff:{one.network_address}/{96 + one.prefixlen}" for one in networks if one.version == 4]
        return [str(network) for network in networks] + mapped

    @property
    def client_url(self) -> str:
        return self.url or f"http://{self.host}:{self.port}"

    @property
    def blobs(self) -> str:
        return self.blob_url or f"file://{self.home.resolve() / 'blobs'}"  # fsspec takes the path as it is, `%20` too


def _is_broker_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "unix" or (
            parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0 and not parts.fragment
        )
    except ValueError:  # no port is spelled like that
        return False


def _parts(listed: str) -> list[str]:
    return [part.strip() for part in listed.split(",") if part.strip()]


def load_settings() -> Settings:
    """The environment first; `broker.env` and `env` in the home fill in what it leaves out.

    Raises ConfigurationError that names the variable.
    """
    home = settings_of_environment().home
    return _named_mistakes(lambda: Settings(_env_file=(home / "broker.env", home / "env")))


def settings_of_environment(profile: str | None = None) -> Settings:
    """What the environment says, and nothing that an earlier run left. Raises ConfigurationError."""
    return _named_mistakes(lambda: Settings(profile=profile) if profile else Settings())


def _named_mistakes(read: Callable[[], Settings]) -> Settings:
    try:
        return read()
    except ValidationError as error:
        raise ConfigurationError(_plain_words(error.errors()[0])) from error


def _plain_words(mistake: "ErrorDetails") -> str:
    """`FAMILYAI_PORT=abc: should be a whole number`; a secret's value is left out."""
    name = str(mistake["loc"][0])
    secret = Settings.model_fields[name].annotation is SecretStr
    plain = _PLAIN.get(mistake["type"])
    words = plain.format(**mistake.get("ctx", {})) if plain else mistake["msg"].removeprefix("Value error, ")
    return f"FAMILYAI_{name.upper()}{'' if secret else '=' + str(mistake['input'])}: {words}"
