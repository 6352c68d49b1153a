"""What the environment decides. Everything about models stands in `queues.yaml` (see `familyai.catalogue`)."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once at a process's start: `FAMILYAI_*` variables, then the files that `familyai up` left in its home."""

    model_config = SettingsConfigDict(env_prefix="FAMILYAI_", frozen=True, extra="ignore")

    home: Path = Field(Path(".familyai"), description="Where state, logs and converted models live.")
    profile: str = Field("embedded", description="Which profile of queues.yaml runs.")
    catalogue: Path = Field(Path("queues.yaml"), description="The catalogue of models.")
    host: str = Field("127.0.0.1", description="Address of the front; 0.0.0.0 lets the household in.")
    port: int = Field(8080, description="Port of the front.")
    worker_port: int = Field(8000, description="Port of the first worker's /health and /metrics; the next ones follow.")
    flower_port: int = Field(5555, description="Port of the Flower dashboard.")
    broker_port: int = Field(6380, description="Port of the broker that `familyai up` starts.")
    broker_url: SecretStr = Field(
        SecretStr(""), description="An existing Redis-compatible server; empty: `familyai up` starts its own."
    )
    blob_url: str = Field("", description="fsspec URL of the store for large bodies; empty: a folder in the home.")
    url: str = Field("", description="Where clients find the front; empty: host and port.")
    api_key: SecretStr = Field(SecretStr(""), description="The key that the command line presents.")

    @property
    def client_url(self) -> str:
        return self.url or f"http://{self.host}:{self.port}"

    @property
    def blobs(self) -> str:
        return self.blob_url or (self.home.resolve() / "blobs").as_uri()


def load_settings() -> Settings:
    """The environment first; `broker.env` and `env` in the home fill in what it leaves out."""
    home = Settings().home
    return Settings(_env_file=(home / "broker.env", home / "env"))
