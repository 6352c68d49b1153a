"""A member who may ask at this hour: what every endpoint wants that makes work."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends

from api.auth import CurrentMember
from api.front import CurrentFront
from api.gate import check_hours
from familyai.members import Member


async def asking(front: CurrentFront, member: CurrentMember) -> Member:
    """Raises Forbidden outside their hours, by the household's clock."""
    check_hours(member.allowance(front.profile.roles), datetime.now().astimezone())
    return member


AskingMember = Annotated[Member, Depends(asking)]
