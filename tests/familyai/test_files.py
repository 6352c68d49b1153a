"""Everybody's files are their own, and gone when their time is over."""

import time

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import DecodeError, NotFound
from familyai.files import File, FileStore, new_file, new_file_id


def a_file(member: str = "ada", keep_s: float = 60) -> File:
    return new_file(member, "../a\n.mp3", "user_data", 7, keep_s, new_file_id())


async def test_a_file_comes_back_as_it_was(redis: Redis) -> None:
    files, file = FileStore(redis), a_file()
    await files.put(file)
    assert await files.get(file.id, "ada") == file
    assert await files.all("ada") == [file]
    assert file.blob == f"files/{file.id}"


async def test_other_people_s_files_do_not_exist(redis: Redis) -> None:
    files, file = FileStore(redis), a_file()
    await files.put(file)
    for ask in (files.get, files.delete):
        with pytest.raises(NotFound, match=file.id):
            await ask(file.id, "bob")
    assert await files.all("bob") == []
    assert await files.get(file.id, "ada") == file


async def test_the_newest_stands_first(redis: Redis) -> None:
    files = FileStore(redis)
    made = [a_file() for _ in range(3)]
    for file in made:
        await files.put(file)
    assert await files.all("ada") == made[::-1]


async def test_an_expired_file_is_gone_from_the_list_too(redis: Redis) -> None:
    files, kept, expired = FileStore(redis), a_file(), a_file(keep_s=-1)
    for file in (kept, expired):
        await files.put(file)
    with pytest.raises(NotFound):
        await files.get(expired.id, "ada")
    assert await files.all("ada") == [kept]
    assert await redis.zcard(keys.files("ada")) == 1


async def test_work_keeps_its_files_and_never_shortens_their_life(redis: Redis) -> None:
    files, file = FileStore(redis), a_file(keep_s=60)
    await files.put(file)
    until_s = time.time() + 3600
    await files.keep(file, until_s)
    await files.keep(await files.get(file.id, "ada"), until_s - 100)
    assert (await files.get(file.id, "ada")).expires_at_s == until_s
    assert await redis.pttl(keys.file(file.id)) > 3_000_000


async def test_a_deleted_file_is_gone(redis: Redis) -> None:
    files, file = FileStore(redis), a_file()
    await files.put(file)
    assert await files.delete(file.id, "ada") == file
    with pytest.raises(NotFound):
        await files.delete(file.id, "ada")
    assert await files.all("ada") == []


async def test_a_record_that_nobody_can_read(redis: Redis) -> None:
    await redis.set(keys.file("file-1"), b"\x00")
    with pytest.raises(DecodeError):
        await FileStore(redis).get("file-1", "ada")


async def test_work_does_not_bring_a_deleted_file_back(redis: Redis) -> None:
    """Deleted between being found and being kept."""
    files, file = FileStore(redis), a_file()
    await files.put(file)
    await files.delete(file.id, "ada")
    await files.keep(file, time.time() + 3600)
    assert not await redis.exists(keys.file(file.id))
    assert await files.all("ada") == []


async def test_of_two_who_keep_a_file_the_longer_counts(redis: Redis) -> None:
    """Both found it before either kept it."""
    files, file = FileStore(redis), a_file(keep_s=60)
    await files.put(file)
    until_s = time.time() + 3600
    await files.keep(file, until_s)
    await files.keep(file, until_s - 100)
    assert (await files.get(file.id, "ada")).expires_at_s == until_s
