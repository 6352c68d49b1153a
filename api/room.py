"""How many connections there may be, of all and from one place, and which of them goes when one more comes.

1. A place (see `api.strangers.origin`) that has its share makes room itself, and where there is no room left whoever it
   is: the connection goes that has been idle for longest.
2. Where none is idle, the newcomer goes.
3. A listed proxy has no share: it speaks for many.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from typing import Generic, TypeVar

from api.strangers import origin

Connection = TypeVar("Connection")


class Room(Generic[Connection]):
    """Of one server. Every method takes constant time. A connection is idle until `work`, and again from `rest` on."""

    def __init__(self, most: int, most_of_a_place: int, proxies: Iterable[str] = ()) -> None:
        self._most = most
        self._most_of_a_place = most_of_a_place
        self._proxies = [ipaddress.ip_network(proxy) for proxy in proxies]
        self._places: dict[Connection, str] = {}
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._idle: dict[Connection, None] = {}
        self._idle_of: defaultdict[str, dict[Connection, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, connection: Connection, host: str | None) -> Connection | None:
        """Who has to go, if anybody: it is no longer counted."""
        place = origin(host)
        goes = self._goes(place, self._is_proxy(host), connection)
        self._places[connection] = place
        self._numbers[place] += 1
        self.rest(connection)
        if goes is not None:
            self.leave(goes)
        return goes

    def work(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        if place := self._places.get(connection):
            self._idle_of[place].pop(connection, None)

    def rest(self, connection: Connection) -> None:
        self.work(connection)
        if place := self._places.get(connection):
            self._idle[connection] = self._idle_of[place][connection] = None

    def leave(self, connection: Connection) -> None:
        """More than once does no harm."""
        self.work(connection)
        if place := self._places.pop(connection, None):
            self._numbers[place] -= 1
            if not self._numbers[place]:
                del self._numbers[place], self._idle_of[place]

    def _goes(self, place: str, is_proxy: bool, newcomer: Connection) -> Connection | None:
        if not is_proxy and self._numbers[place] >= self._most_of_a_place:
            return next(iter(self._idle_of[place]), newcomer)
        if len(self._places) >= self._most:
            return next(iter(self._idle), newcomer)
        return None

    def _is_proxy(self, host: str | None) -> bool:
        if host is None or not self._proxies:
            return False
        address = ipaddress.ip_address(host.partition("%")[0])
        return any(address in proxy for proxy in self._proxies)
