"""Who is waiting, by address, and who of them has to go first."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Crowd:
    """Members, each from one address, in the order in which they came.

    The first to go is the one that came first of the address that has most of them, so that who fills the place makes
    room for all others. Of several addresses with as many it is the one that has had so many for longest: where each
    has one member, the member that came first. Everything takes the same time however many there are.
    """

    _addresses: dict[int, str] = field(default_factory=dict)
    """The address of each member."""
    _members: dict[str, dict[int, None]] = field(default_factory=dict)
    """The members of each address, the longest there first."""
    _ranks: dict[int, dict[str, None]] = field(default_factory=dict)
    """Addresses by how many members they have, the longest at that number first."""
    _most: int = 0

    def __len__(self) -> int:
        return len(self._addresses)

    def __contains__(self, member: int) -> bool:
        return member in self._addresses

    def count(self, address: str) -> int:
        """How many are from an address."""
        return len(self._members.get(address, ()))

    def add(self, member: int, address: str) -> None:
        """One more, who is not there yet."""
        self._addresses[member] = address
        members = self._members.setdefault(address, {})
        members[member] = None
        self._rank(address, len(members) - 1, len(members))

    def remove(self, member: int) -> None:
        """Who is not there does not matter."""
        address = self._addresses.pop(member, None)
        if address is None:
            return
        members = self._members[address]
        del members[member]
        self._rank(address, len(members) + 1, len(members))
        if not members:
            del self._members[address]

    def first(self) -> int | None:
        """Who goes first; None where nobody is there."""
        if not self._most:
            return None
        return self.first_of(next(iter(self._ranks[self._most])))

    def first_of(self, address: str) -> int | None:
        """Who came first of those from an address."""
        return next(iter(self._members.get(address, ())), None)

    def _rank(self, address: str, before: int, now: int) -> None:
        rank = self._ranks.get(before)
        if rank is not None:
            rank.pop(address, None)
            if not rank:
                del self._ranks[before]
        if now:
            self._ranks.setdefault(now, {})[address] = None
        # The number of one address changes by one, so the next largest is never further away.
        self._most = max(self._most, now)
        if self._most not in self._ranks:
            self._most -= 1
