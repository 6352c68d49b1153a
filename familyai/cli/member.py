"""`familyai member`: who may use FamilyAI. Written to the broker directly; the next request sees it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from familyai.cli import console, session
from familyai.cli.console import out, own_command
from familyai.errors import BadRequest
from familyai.members import Member, MemberStore, Role
from familyai.settings import load_settings


async def add(name: str, role: Role) -> None:
    """Raises BadRequest, NotRunning."""
    async with _members() as members:
        _show_key(*await members.add(name, role))


async def rotate(name: str) -> None:
    """Raises NotFound, NotRunning."""
    async with _members() as members:
        _show_key(*await members.rotate(name))


async def remove(name: str) -> None:
    """Raises NotFound, NotRunning; BadRequest where nobody would be left to administer."""
    async with _members() as members:
        refuse_last_admin(await members.all(), name)
        await members.remove(name)
    out.print(f"Removed {name}; the key no longer works.", markup=False)


async def show() -> None:
    """Raises NotRunning."""
    async with _members() as members:
        everyone = await members.all()
    made = console.table("name", "role", "key", "since")
    for member in everyone:
        since = time.strftime("%Y-%m-%d", time.localtime(member.created_at_s))
        made.add_row(member.name, member.role, f"fai-{member.key_id}-…", since)
    out.print(made if everyone else f"There is no member yet; add one with: {own_command()} member add NAME")


def refuse_last_admin(everyone: list[Member], name: str) -> None:
    """Raises BadRequest."""
    if [member.name for member in everyone if member.role is Role.ADMIN] == [name]:
        raise BadRequest(
            f"'{name}' is the last admin; make another one first: {own_command()} member add NAME --role admin"
        )


@asynccontextmanager
async def _members() -> AsyncIterator[MemberStore]:
    async with session.broker(load_settings()) as redis:
        yield MemberStore(redis)


def _show_key(member: Member, key: str) -> None:
    url = load_settings().client_url
    out.print(f"The key of {member.name} ({member.role}), shown this once:\n\n  {key}\n", markup=False, soft_wrap=True)
    out.print(f"Any OpenAI client takes it: base URL {url}/v1. In a terminal:\n", markup=False, soft_wrap=True)
    command = f'FAMILYAI_URL={url} FAMILYAI_API_KEY={key} {own_command()} chat "Hello!"'
    out.print(f"  {command}", markup=False, soft_wrap=True)
