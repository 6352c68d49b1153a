"""`familyai member`: who may use FamilyAI. Written to the broker directly; the next request sees it."""

import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import psutil
from rich.text import Text

from familyai.allowance import Role
from familyai.catalogue import Profile, load_profile
from familyai.cli import console, limits, session, stack
from familyai.cli.console import out, own_command
from familyai.members import Change, Member, MemberStore, user_of
from familyai.settings import load_settings

_ARTICLES = {Role.ADMIN: "an admin", Role.ADULT: "an adult", Role.CHILD: "a child"}


async def add(name: str, role: Role, change: Change) -> None:
    """Raises BadRequest, NotRunning."""
    async with _members() as (members, _):
        _show_key(*await members.add(name, role, change))


async def change(name: str, wanted: Change) -> None:
    """Raises NotFound, BadRequest, NotRunning."""
    async with _members() as (members, profile):
        _show_limits(await members.change(name, wanted), profile)


async def rotate(name: str) -> None:
    """Raises NotFound, NotRunning."""
    async with _members() as (members, _):
        _show_key(*await members.rotate(name))


async def remove(name: str) -> None:
    """Raises NotFound, NotRunning; BadRequest where nobody would be left to administer."""
    async with _members() as (members, _):
        removed = await members.remove(name)
    out.print(f"Removed {removed.name}; the key no longer works.", markup=False)


async def show(name: str) -> None:
    """Raises NotFound, NotRunning."""
    async with _members() as (members, profile):
        _show_limits(await members.get(name), profile)


async def show_all() -> None:
    """Raises NotRunning."""
    async with _members() as (members, _):
        everyone = await members.all()
    made = console.table("name", "role", "lane", "key", "since", "differs from the role")
    for member in everyone:
        lane = "shared" if member.lane is None else f"{member.lane:02d}"
        made.add_row(member.name, member.role, lane, _key(member), _day(member), Text(_special(member)))
    out.print(made if everyone else f"There is no member yet; add one with: {own_command()} member add NAME")


@asynccontextmanager
async def _members() -> AsyncIterator[tuple[MemberStore, Profile]]:
    """Of the stack that runs, and its profile of the catalogue."""
    async with session.broker(load_settings()) as redis:
        settings = session.settings_of_stack()
        profile = load_profile(settings.catalogue, settings.profile)
        yield MemberStore(redis, profile), profile


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


def _show_limits(member: Member, profile: Profile) -> None:
    out.print(f"{member.name} is {_ARTICLES[member.role]}; {_special(member) or 'nothing differs'}.\n", markup=False)
    made = console.table("limit", "value", "whose")
    for name, limit in member.allowance(profile.roles).model_dump().items():
        whose = "own" if name in member.own else f"every {member.role}'s"
        made.add_row(name.replace("_", " "), limits.words(limit), whose)
    out.print(made)


def _special(member: Member) -> str:
    """What makes them other than the rest of their role, in a line."""
    user = user_of(member)
    parts = ["trusted" if member.trusted else "", limits.differences(member.own), f"user {user}" if user else ""]
    return ", ".join(part for part in parts if part)


def _key(member: Member) -> str:
    return f"fai-{member.key_id}-…" if member.key_id else "none"


def _day(member: Member) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(member.created_at_s))


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
