"""`python -m api`: one front process."""

import sys

import uvicorn

from api.app import create_app
from familyai.catalogue import load_profile
from familyai.errors import ConfigurationError
from familyai.logs import configure
from familyai.settings import load_settings

KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that they close first and never send into one that is closing."""
GRACE_S = 10
"""How long a stopping front lets open answers finish."""


def main() -> None:
    """Serves until SIGINT or SIGTERM. Exits 2 when the configuration is wrong."""
    configure("front")
    settings = load_settings()
    try:
        if not settings.broker_url.get_secret_value():
            raise ConfigurationError("FAMILYAI_BROKER_URL is not set: `familyai up` starts a broker and sets it")
        app = create_app(settings, load_profile(settings.catalogue, settings.profile))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )


if __name__ == "__main__":
    main()
