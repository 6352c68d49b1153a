"""The front as an application: its routes, its handlers, and what runs while it runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from api import (
    admin,
    audio,
    auth,
    batches,
    feedback,
    files,
    generate,
    handlers,
    health,
    jobs,
    models,
    queue,
    resume,
    route,
    transcriptions,
    usage,
)
from api.front import build_front
from api.metrics import Measured
from api.voices import Voices
from api.work import leading
from familyai import __version__
from familyai.catalogue import Profile
from familyai.settings import Settings

_DESCRIPTION = """OpenAI's API, and Anthropic's Messages, in front of one household's models.

Every request waits in its model's queue until a slot is free; below the limits nothing is refused. Failures come as
`{"error": {message, type, param, code}}` with a status as long as nothing was sent, and as an event in the stream
after that.
"""


def create_app(settings: Settings, profile: Profile) -> FastAPI:
    """Connects when it starts. Nothing in it leaves the machine: no Swagger page, whose assets come from elsewhere."""
    front = build_front(settings, profile)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with front.running(), leading(front):
            yield

    app = FastAPI(
        title="FamilyAI",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.front = front
    app.state.voices = Voices()
    auth.install(app, settings)
    app.add_middleware(Measured, metrics=front.metrics)
    handlers.install(app)
    app.router.routes.extend(_routes())
    return app


@cache
def _routes() -> list[BaseRoute]:
    """Those of all modules: the same in every application of a process, for they take long to build."""
    router = APIRouter(generate_unique_id_function=lambda route: route.name)
    chosen = (models, route, feedback)
    for module in (generate, audio, files, batches, transcriptions, *chosen, jobs, resume, queue, usage, admin, health):
        router.include_router(module.router)
    return router.routes
