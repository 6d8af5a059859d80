"""Which listeners haproxy can have: not what it binds by lines of its owner's, nor what another
program has, now or at its next start."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from ..config.targets import Target
from ..listening import haproxy_config, lines
from ..listening.haproxy_config import Bind
from ..listening.taken import Taken
from ..metadata.facts import Facts, Listener
from ..programs.host import Host, unit_of
from .configurations import Configurations
from .judged import Judged, shown
from .permitted import forbidden, parted
from .surroundings import Surroundings


class HaproxyListeners:
    """Judges for one host."""

    def __init__(self, host: Host, configurations: Configurations) -> None:
        self.host = host
        self.configurations = configurations

    def judged(self, target: Target, lb: Facts) -> Judged:
        """The answer without those that it can't have."""
        wanted: Sequence[Sequence[Listener]] = [*lines.grouped(target, lb)]
        around = self._around(target, {those[0].port for those in wanted})
        others, notes = self._beside(target, around) if around else ((), ())
        every = {one for those in wanted for one in those}
        wanted, barred = parted(around, wanted) if around else (wanted, ())
        own = self.configurations.others("haproxy", unit_of(target))
        barred_by = forbidden(around) if around else lambda _: ""
        found = [_judged(barred_by, own, others, those) for those in wanted]
        gone = {one for those, _ in found for one in those}
        gone |= every - {one for those in wanted for one in those}
        notes = [*notes, *barred, *(note for those, note in found if those)]
        if not notes:
            return Judged(target, lb)
        kept = tuple(one for one in lb.listeners if one not in gone)
        return Judged(target, replace(lb, listeners=kept), shown(target, notes), f"{notes}")

    def _around(self, target: Target, ports: Collection[int]) -> Surroundings | None:
        """What there is at the ports that haproxy is to bind; None if whose a socket is can't be
        told."""
        if not self.host.root:
            return None
        unit = unit_of(target)
        lent = self.configurations.lent("haproxy", unit)
        found = Surroundings(self.host, (), lent, False, "haproxy", ports, unit)
        found.remember()
        return found

    def _beside(
        self, target: Target, around: Surroundings
    ) -> tuple[Sequence[Taken], Sequence[str]]:
        """What others have, or will have again; and what is said of those that it keeps for now."""
        asked, notes = self.configurations.asked(around, "nginx", around.ports or ())
        return [*asked, *around.taken(target.vars["ports"])], notes


def _judged(
    barred_by: Callable[[int], str],
    own: Sequence[Bind],
    others: Sequence[Taken],
    those: Sequence[Listener],
) -> tuple[Sequence[Listener], str]:
    """Those that are left out, and why."""
    why = barred_by(those[0].port)
    if why:
        return those, f"port {those[0].port} is left out: {why}"
    return haproxy_config.taken(own, others, those)
