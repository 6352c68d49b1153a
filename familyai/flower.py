"""The Celery app that Flower watches: `celery -A familyai.flower:app flower`."""

from familyai.settings import load_settings
from familyai.tasks import make_app

app = make_app(load_settings().broker_url.get_secret_value())
