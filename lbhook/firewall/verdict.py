"""What is asked of the kernel, and what it says: a door, a verdict, a counter."""

from collections.abc import Mapping
from typing import NamedTuple

from ..metadata.reader import Address

PROTOCOLS = {"tcp": 6, "udp": 17}
Element = tuple[str, ...]
# In place of a chain, where it was none that decided.
ROUTING = "routing"


class Verdict(NamedTuple):
    """What becomes of a packet: accept, drop, translated (to another address or port), unknown.

    `chain` and `rule` have what drops it, or can't be judged, as in "ip filter INPUT" and
    "handle 7"; `by_source` says that it would be let in from a source that a rule names, and
    `answer` that it is let in and what answers it is dropped, `later` that it is answered and what
    its client sends next is dropped. `to` is where on this machine it was redirected to, and
    perhaps dropped.
    """

    action: str = ""
    chain: str = ""
    rule: str = ""
    by_source: bool = False
    answer: bool = False
    later: bool = False
    to: str = ""

    @property
    def place(self) -> str:
        """Where that was decided, for a message: a chain and a rule of it, or the routing."""
        where = f"chain {self.chain}" if self.chain != ROUTING else f"the kernel's {ROUTING}"
        return f"{where} ({self.rule})" if self.rule else where


class Door(NamedTuple):
    """Where a packet goes: an address and a port here, by an interface; of ICMPv6, port 0, it is
    the advertisement of a neighbour. `user` is whose socket answers. A `source` is who sends it,
    and without one nobody in particular does."""

    destination: Address
    protocol: int
    port: int
    device: str
    user: int = 0
    source: Address | None = None


class Counter(NamedTuple):
    """What an element of the firewall has let in: of a connection only the first packets."""

    packets: int
    bytes: int


class TalliedRule(NamedTuple):
    """A rule of a table: by its comment, if it has one; `counter` is None if it does not count, or
    more than once."""

    handle: int
    comment: str = ""
    counter: Counter | None = None


class Tally(NamedTuple):
    """What a table has counted: rules by their chain, in their order, and elements by their set."""

    rules: Mapping[str, tuple[TalliedRule, ...]]
    elements: Mapping[str, Mapping[Element, Counter]]
