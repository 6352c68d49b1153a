"""Who may do what in the broker: every kind of process has a user of its own, with the keys and commands it needs.

| user     | who                     | keys and channels                                                              |
|----------|-------------------------|--------------------------------------------------------------------------------|
| `owner`  | command line, supervisor | all keys; may have the append-only file rewritten                             |
| `front`  | the front               | FamilyAI's own and the lanes; may have the append-only file rewritten          |
| `worker` | all workers             | lanes, jobs, accounts and limits; no member, no API key, no file, no batch     |
| `flower` | Flower                  | reads lanes and who waits in them; hears Celery's events                       |

None of them may empty the broker, read or change its configuration, watch what others send, or list keys. The user
`default`, whom a client without a name would be, is off.
"""

import hashlib
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from familyai import keys

OWNER, FRONT, WORKER, FLOWER = USERS = ("owner", "front", "worker", "flower")
_COMMANDS = (
    "+@read +@write +@pubsub +@transaction +@connection +eval +evalsha +script|load +script|exists +time "
    "-@admin -@dangerous -function -scan -randomkey"
)
_MORE = {
    OWNER: "+info +bgrewriteaof",
    FRONT: "+info +bgrewriteaof",
    WORKER: "+info +client|list +client|unblock",  # to end the BRPOP of its own connection, and no other's
    FLOWER: "+info",
}
_OF_WORKERS = (keys.job, keys.waiting, keys.backlog, keys.active, keys.running, keys.service, keys.pace, keys.told)
_ALSO_OF_WORKERS = (keys.workers, keys.in_flight, keys.usage, keys.log)
_CELERY_EVENTS = "/0.celeryev/*"  # of database 0; who listens has to be allowed this very pattern
_KOMBU_BINDINGS = "_kombu.binding*"
_OF_LISTENERS = ["celeryev.*", "*.reply.celery.pidbox"]
_REMOTE_CONTROL = "/0.celery.pidbox"  # Flower asks there for a sign of life; no worker of ours listens


def access_list(queues: Iterable[str], passwords: Mapping[str, str]) -> list[str]:
    """Lines for a configuration file: `passwords` by user, of which only hashes are written; `queues` have lanes."""
    lanes = [f"{queue}.*" for queue in queues]
    return ["user default off", *(_line(user, passwords[user], _allowed(user, lanes)) for user in USERS)]


def url_of(user: str, password: str, address: str) -> str:
    """The broker's URL for one user; `address` is `host:port`."""
    return f"redis://{user}:{quote(password, safe='')}@{address}/0"


def _line(user: str, password: str, allowed: list[str]) -> str:
    digest = hashlib.sha256(password.encode()).hexdigest()
    return " ".join(["user", user, "on", f"#{digest}", "resetchannels", *allowed, "-@all", _COMMANDS, _MORE[user]])


def _allowed(user: str, lanes: list[str]) -> list[str]:
    """Keys (`~`, `%R~` to read only) and channels (`&`)."""
    ours, kombus = [keys.reply("*"), keys.control("*")], [_KOMBU_BINDINGS, *keys.unacked("*").values()]
    if user == OWNER:
        return ["~*"]
    if user == FRONT:
        return _written([keys.ALL, keys.LIMITS, *lanes]) + _heard(ours)
    if user == WORKER:
        named = [name("*") for name in (*_OF_WORKERS, *_ALSO_OF_WORKERS)]
        named += [keys.LANE_COUNT, keys.LOGS, keys.LIMITS]
        return _written([*named, *lanes, *kombus]) + _heard([*ours, _CELERY_EVENTS])
    read = [keys.service("*"), keys.active("*"), keys.DEFAULT_QUEUE, *lanes]
    own = [_KOMBU_BINDINGS, *_OF_LISTENERS, *keys.UNACKED_OF_FLOWER]
    return [f"%R~{name}" for name in read] + _written(own) + _heard([_CELERY_EVENTS, _REMOTE_CONTROL])


def _written(names: Iterable[str]) -> list[str]:
    return [f"~{name}" for name in names]


def _heard(channels: Iterable[str]) -> list[str]:
    return [f"&{channel}" for channel in channels]
