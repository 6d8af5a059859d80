"""What the files of nginx and of haproxy have them listen at: those of lbhook's, as they are on the
disk, and all others."""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from ..config.shipped import kind_of
from ..config.targets import Target
from ..listening import lines, taken
from ..listening.haproxy_config import Bind
from ..listening.nginx_config import ANY6, DUAL, OURS, Listen
from ..listening.taken import Taken
from ..programs.daemon import places
from ..programs.host import Host, unit_of
from .surroundings import Surroundings


class Configurations:
    """Those of one host, with the `active` targets of one configuration of lbhook's."""

    def __init__(self, host: Host, active: Sequence[Target]) -> None:
        self.host = host
        self.active = active
        self._bound: dict[tuple[str, str], Sequence[Bind]] = {}

    def content(self, target: Target) -> bytes:
        """What is in a target's file; empty if it is not there."""
        found = self.host.tree.state(target.path)
        return found.content if found else b""

    def listens(self, target: Target) -> Iterator[Listen]:
        """The lines of a target's file for nginx."""
        context, content = lines.context(target), self.content(target)
        duals = lines.duals(content)
        for place in places(content):
            words = (
                ("udp",) if place.protocol == "udp" else tuple(target.vars["parameters"].split())
            )
            if place.ip == ANY6 and place.port in duals:
                words += (DUAL,)
            yield Listen(place.ip, place.port, words, context, OURS, str(target.path))

    def own(self, daemon: str) -> Collection[str]:
        """The paths of lbhook's files for a program, those of targets that are gone among them."""
        targets = (*self.active, *self._installed)
        return {str(one.path) for one in targets if kind_of(one).daemon == daemon}

    def lent(self, program: str, unit: str = "") -> Collection[tuple[object, int]]:
        """The places of lbhook's files for other programs than this one, be it that of a `unit`."""
        others = [
            one
            for one in self._installed
            if kind_of(one).daemon not in ("", program) or (unit and unit_of(one) != unit)
        ]
        files = [self.content(one) for one in others if kind_of(one).daemon]
        return {(place.ip, place.port) for file in files for place in places(file)}

    def others(self, program: str, unit: str = "") -> Sequence[Bind]:
        """Where a program's configuration without lbhook's files has it listen, if it is here."""
        if (program, unit) not in self._bound:
            own = {*self.own(program), *(str(one.path) for one in self._installed)}
            found = self.host.daemon(program, unit).binds(own) if self.host.find(program) else ()
            self._bound[program, unit] = found
        return self._bound[program, unit]

    def asked(
        self, around: Surroundings, other: str, ports: Collection[int]
    ) -> tuple[Sequence[Taken], Sequence[str]]:
        """What the `other` program will have by its owner's lines; and what is said of what that of
        the surroundings keeps for now: it works, and the other one does not."""
        found = [*around.asked(other, self.others(other), ports)]
        kept = [one for one in found if around.has(one)]
        return [one for one in found if one not in kept], [*map(taken.kept, kept)]

    @cached_property
    def _installed(self) -> Sequence[Target]:
        return [one.target() for one in self.host.state.installed().values()]
