"""Which listeners haproxy can have: not what it binds by lines of its owner's, nor what another
program has, now or at its next start."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from ..config.targets import Target
from ..listening import haproxy_config, lines
from ..listening.taken import Taken
from ..metadata.facts import Facts
from ..programs.host import Host, unit_of
from .configurations import Configurations
from .judged import Judged, shown
from .surroundings import Surroundings


class HaproxyListeners:
    """Judges for one host."""

    def __init__(self, host: Host, configurations: Configurations) -> None:
        self.host = host
        self.configurations = configurations

    def judged(self, target: Target, lb: Facts) -> Judged:
        """The answer without those that it can't have."""
        wanted = [*lines.grouped(target, lb)]
        others, notes = self._beside(target, {those[0].port for those in wanted})
        own = self.configurations.others("haproxy", unit_of(target))
        found = [haproxy_config.taken(own, others, those) for those in wanted]
        gone = {one for those, _ in found for one in those}
        notes = [*notes, *(note for those, note in found if those)]
        if not notes:
            return Judged(target, lb)
        kept = tuple(one for one in lb.listeners if one not in gone)
        return Judged(target, replace(lb, listeners=kept), shown(target, notes), f"{notes}")

    def _beside(
        self, target: Target, ports: Collection[int]
    ) -> tuple[Sequence[Taken], Sequence[str]]:
        """What others have, or will have again, of the ports that haproxy is to bind; and what is
        said of those that it keeps for now."""
        if not self.host.root:
            return (), ()  # whose a socket is can't be told
        unit = unit_of(target)
        lent = self.configurations.lent("haproxy", unit)
        around = Surroundings(self.host, (), lent, False, "haproxy", ports, unit)
        around.remember()
        asked, notes = self.configurations.asked(around, "nginx", ports)
        return [*asked, *around.taken(target.vars["ports"])], notes
