"""`familyai member`: who may use FamilyAI. Written to the broker directly; the next request sees it."""

import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import psutil

from familyai.allowance import Role
from familyai.catalogue import load_profile
from familyai.cli import console, session, stack
from familyai.cli.console import out, own_command
from familyai.errors import BadRequest
from familyai.members import Member, MemberStore
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
    """Of the stack that runs, by its catalogue."""
    async with session.broker(load_settings()) as redis:
        settings = session.settings_of_stack()
        yield MemberStore(redis, load_profile(settings.catalogue, settings.profile))


def front_url(known: str, listens_on: str, port: int, lan_address: str | None) -> str:
    """Where a member's device finds the front: on the local network, if it listens there and nothing else is known."""
    if lan_address is None or stack.is_loopback(listens_on) or not _is_here(known):
        return known
    return stack.local_url(lan_address, port)


def private_address(addresses: Iterable[str]) -> str | None:
    """The first IPv4 address of a local network."""
    parsed = (ipaddress.ip_address(text) for text in addresses)
    return next((str(ip) for ip in parsed if ip.is_private and not ip.is_loopback and not ip.is_link_local), None)


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return stack.is_loopback(host) or host in stack.ANY_ADDRESS


def _own_addresses() -> list[str]:
    of_interfaces = psutil.net_if_addrs().values()
    return [one.address for addresses in of_interfaces for one in addresses if one.family is socket.AF_INET]


def _show_key(member: Member, key: str) -> None:
    settings = session.settings_of_stack()
    url = front_url(settings.client_url, settings.host, settings.port, private_address(_own_addresses()))
    out.print(f"The key of {member.name} ({member.role}), shown this once:\n\n  {key}\n", markup=False, soft_wrap=True)
    out.print(f"Any OpenAI client takes it: base URL {url}/v1. In a terminal:\n", markup=False, soft_wrap=True)
    command = f'FAMILYAI_URL={url} FAMILYAI_API_KEY={key} {own_command()} chat "Hello!"'
    out.print(f"  {command}", markup=False, soft_wrap=True)
    if _is_here(url) and stack.is_loopback(settings.host):
        out.print(
            "\nOther devices reach it only after a start with FAMILYAI_HOST=0.0.0.0 (docs/operations.md).",
            soft_wrap=True,
        )
