"""A supervisor's whole life, in the foreground of `familyai up` or as its daemon (`python -m familyai.cli.serve`)."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable

from familyai import logs
from familyai.cli import admin, session, stack, state
from familyai.cli.home import Home, start_log, write_private
from familyai.cli.plan import Plan, make_plan
from familyai.cli.supervisor import StartFailed, Supervisor, run
from familyai.errors import FamilyAIError
from familyai.members import MemberStore
from familyai.settings import settings_of_environment

log = logging.getLogger(__name__)


class Serving:
    """One run of a plan, from the lock on its home to the last process gone; `supervisor.json` follows it."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._home = plan, plan.home
        self._phase, self._words, self._log = state.StackPhase.STARTING, "", ""
        self.supervisor = Supervisor(plan.stack.specs, on_change=self._save)

    async def serve(self, when_healthy: Callable[[], Awaitable[None]]) -> None:
        """Until a signal. Nothing runs when it returns or raises. Raises AlreadyRunning, StartFailed, FamilyAIError."""
        with self._home.lock():
            self._write_files()
            self._save()
            try:
                await run(self.supervisor, lambda: self._healthy(when_healthy))
            except FamilyAIError as error:
                self._failed(error)
                raise
            self._home.state.unlink(missing_ok=True)

    def _write_files(self) -> None:
        for spec in self._plan.stack.specs:
            start_log(spec.log)
        if own := self._plan.own_broker:
            port, queues = self._plan.settings.broker_port, self._plan.profile.models
            write_private(self._home.broker_config, stack.broker_config(self._home, port, queues, own.passwords))
        write_private(self._home.broker_env, f"FAMILYAI_BROKER_URL={self._plan.stack.broker_url}\n")

    async def _healthy(self, then: Callable[[], Awaitable[None]]) -> None:
        await write_client_env(self._plan)
        self._phase = state.StackPhase.HEALTHY
        self._save()
        await then()

    def _failed(self, error: FamilyAIError) -> None:
        self._phase, self._words = state.StackPhase.FAILED, str(error)
        self._log = str(error.log) if isinstance(error, StartFailed) else ""
        self._save()

    def _save(self) -> None:
        pid, created_at_s = state.own_identity()
        stopping = self.supervisor.stopping.is_set() and self._phase is not state.StackPhase.FAILED
        state.save(
            self._home,
            state.StackState(
                pid=pid,
                created_at_s=created_at_s,
                phase=state.StackPhase.STOPPING if stopping else self._phase,
                words=self._words,
                log=self._log,
                environment=stack.public_environment(self._plan.settings, self._home),
                processes=self.supervisor.states(),
            ),
        )


async def write_client_env(plan: Plan) -> None:
    """`env` in the home: where the front is, and a key that works."""
    async with session.broker(plan.settings) as redis:
        key = await admin.admin_key(MemberStore(redis, plan.profile), plan.home.api_key())
    write_private(plan.home.env, f"FAMILYAI_URL={plan.stack.url}\nFAMILYAI_API_KEY={key}\n")


async def _nothing_more() -> None:
    log.info("everything is healthy", extra={"action": "stack.healthy"})


def main() -> int:
    """The daemon: its settings come from its environment, its word to the outside is `supervisor.json`."""
    logs.configure("supervisor")
    settings = settings_of_environment()
    try:
        asyncio.run(Serving(make_plan(settings, Home(settings.home))).serve(_nothing_more))
    except FamilyAIError as error:
        log.error(str(error), extra={"action": "stack.failed"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
