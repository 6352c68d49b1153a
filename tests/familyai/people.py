"""Members as tests make them."""

from familyai.catalogue import Profile
from familyai.members import Change, MemberStore, user_key

PROFILE = Profile.model_validate(
    {
        "memory_budget_gb": 2,
        "fairness": {"lanes": 3},
        "queues": {
            "chat": {"model": "org/chat", "engine": "echo", "memory_gb": 1, "slots": 4},
            "chat-light": {"served_by": "chat"},
            "asr": {"model": "org/asr", "engine": "echo", "memory_gb": 1, "slots": 4},
        },
    }
)


async def names(store: MemberStore) -> list[str]:
    return [member.name for member in await store.all()]


def of_chat_users(most: int) -> Profile:
    return PROFILE.model_copy(update={"limits": PROFILE.limits.model_copy(update={"chat_users": most})})


async def leave(store: MemberStore) -> None:
    await store.remove("Leo")


async def get_a_key(store: MemberStore) -> None:
    await store.rotate("Leo")


async def be_mum(store: MemberStore) -> None:
    await store.change("Mum", Change(user=user_key("u-9")))
