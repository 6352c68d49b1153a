"""The first member: whoever started FamilyAI may use it at once."""

import logging

from familyai.allowance import Role
from familyai.errors import NotFound
from familyai.members import MemberStore
from familyai.names import folded, numbered

log = logging.getLogger(__name__)

NAME = "admin"


async def admin_key(members: MemberStore, known_key: str) -> str:
    """The known key while it works, else a new one of the member `admin`, made if need be."""
    if known_key and await members.authenticate(known_key) is not None:
        return known_key
    name = await _free_or_admins(members)
    try:
        _, key = await members.rotate(name)
        log.warning("the known key no longer worked", extra={"action": "member.rotated", "member": name})
    except NotFound:
        _, key = await members.add(name, Role.ADMIN)
        log.info("made the first member", extra={"action": "member.added", "member": name})
    return key


async def _free_or_admins(members: MemberStore) -> str:
    """`admin`, but where somebody else is called so, who has no admin's key, `admin (2)`."""
    others = {folded(member.name) for member in await members.all() if not member.administers}
    return next(name for name in numbered(NAME) if folded(name) not in others)
