"""Where a request comes from, and how often a place may ask without a key."""

import asyncio

import pytest
from redis.asyncio import Redis

from api.strangers import UNKNOWN, Strangers, origin
from familyai.broker import connect
from familyai.errors import LimitReached
from familyai.quota import Windows


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:C000:0207", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("example", UNKNOWN),
        ("192.0.2.7:80", UNKNOWN),
        ("", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_a_place_is_an_address_or_a_households_network(host: str | None, place: str) -> None:
    assert origin(host) == place


async def test_up_to_the_limit_and_not_one_more(redis: Redis) -> None:
    strangers = Strangers(Windows(redis), 3)
    for host in ("2001:db8::1", "2001:db8::2", "2001:db8::ffff"):
        await strangers.count(host)
    with pytest.raises(LimitReached) as raised:
        await strangers.count("2001:db8::3")
    assert raised.value.retry_after_s is not None
    assert 0 < raised.value.retry_after_s <= 120
    await strangers.count("2001:db8:0:1::1")
    await strangers.count("192.0.2.7")


async def test_fronts_count_together_to_the_one(redis: Redis, broker_url: str) -> None:
    clients = [connect(broker_url) for _ in range(2)]
    fronts = [Strangers(Windows(client), 5) for client in clients]
    counting = [front.count("192.0.2.7") for front in fronts for _ in range(5)]
    results = await asyncio.gather(*counting, return_exceptions=True)
    for client in clients:
        await client.aclose()
    assert [type(result) for result in results if result is not None] == [LimitReached] * 5
