"""The connections that came here through a rule: how many are open while this VM is drained."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from ..firewall.kernel import Firewall, FirewallError
from ..metadata.facts import Facts
from ..metadata.model import Protocol
from ..metadata.reader import Address
from ..system.machine import Machine
from . import probes
from .conntrack import Tracked, translated

# A probe that failed once may be tried again; Azure's own default asks for two in a row.
_FAILURES = 2
# The longest that two probes take with an interval of 15 s. If none has come by then, none is
# waited for.
_GRACE = 31.0
_LOOK = 1.0


class Left(NamedTuple):
    """How many connections are open, and by port how many probes were refused."""

    connections: int
    refused: Mapping[int, int]

    @property
    def unprobed(self) -> bool:
        """Whether no probe has come."""
        return not self.refused

    def over(self, seconds: float) -> bool:
        """Whether all is over after so many seconds: nobody is connected, and Azure knows that
        nobody is to be, or does not ask."""
        failed = self.refused and min(self.refused.values()) >= _FAILURES
        return not self.connections and bool(failed or (self.unprobed and seconds >= _GRACE))


class Flows:
    """The connections of one machine to where rules lead, but for those of the probes.

    Of sockets, which are always there, and of what is tracked for containers. It is not told how
    somebody came there: a neighbour in the virtual network counts as well.
    """

    def __init__(
        self,
        lb: Facts,
        machine: Machine,
        sources: Collection[Address],
        tracked: Callable[[], tuple[Tracked, ...]] = translated,
        firewall: Firewall | None = None,
    ) -> None:
        self.machine = machine
        self.sources = frozenset(sources)
        self.tracked = tracked
        self.firewall = firewall or Firewall()
        tcp = (one for one in lb.listeners if one.protocol is Protocol.TCP)
        self.places = frozenset((one.ip, one.port) for one in tcp)
        self.ha_ports = frozenset(lb.ha_ports)

    def look(self) -> Left:
        """How it is now."""
        listening = {one.port for one in self.machine.listening()}
        own = (
            Tracked(there.ip, there.port, here.ip, here.port)
            for here, there in self.machine.serving()
            # With HA ports any port may be one; what the VM itself has opened has another.
            if here.port in listening or (here.ip, here.port) in self.places
        )
        found = {one for one in (*own, *self.tracked()) if self._counts(one)}
        return Left(connections=len(found), refused=self._refused())

    def wait(
        self,
        limit: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        watch: Callable[[Left, float], None],
    ) -> Left:
        """Wait until all is over, for at most so many seconds; `watch` is told what is left, and
        how many seconds."""
        begun = clock()
        while True:
            left, gone = self.look(), clock() - begun
            if left.over(gone) or gone >= limit:
                return left
            watch(left, limit - gone)
            sleep(min(_LOOK, limit - gone))

    def _counts(self, one: Tracked) -> bool:
        led = (one.destination, one.port) in self.places or one.destination in self.ha_ports
        return led and one.source not in self.sources

    def _refused(self) -> Mapping[int, int]:
        try:
            found = self.firewall.counters(("refused",), probes.NAME.split()[1])
        except FirewallError:
            return {}
        return {int(port): one.packets for (port,), one in found.items() if one}
