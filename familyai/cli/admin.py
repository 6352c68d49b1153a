"""The first member: whoever started FamilyAI may use it at once."""

import logging

from familyai.allowance import Role
from familyai.errors import NotFound
from familyai.members import MemberStore

log = logging.getLogger(__name__)

NAME = "admin"


async def admin_key(members: MemberStore, known_key: str) -> str:
    """The known key while it works, else a new one of the member `admin`, made if need be."""
    if known_key and await members.authenticate(known_key) is not None:
        return known_key
    try:
        _, key = await members.rotate(NAME)
        log.warning("the known key no longer worked", extra={"action": "member.rotated", "member": NAME})
    except NotFound:
        _, key = await members.add(NAME, Role.ADMIN)
        log.info("made the first member", extra={"action": "member.added", "member": NAME})
    return key
