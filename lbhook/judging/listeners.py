"""The listeners that targets can have on this machine: at addresses that are here, and of nginx's
and haproxy's those that they can take; judged before a file is rendered from them."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ..config.settings import Settings
from ..config.shipped import kind_of
from ..config.targets import Target
from ..metadata import facts
from ..metadata.facts import Facts
from ..metadata.reader import Address
from ..programs.host import Host, unit_of
from .judged import Judged

# Imported where there is a target of either: before the network is up there is none.
if TYPE_CHECKING:
    from .configurations import Configurations
    from .haproxy_listeners import HaproxyListeners
    from .nginx_listeners import NginxListeners


class Listeners:
    """Judges for one host and one configuration."""

    def __init__(self, host: Host, settings: Settings, only: Sequence[str] = ()) -> None:
        self.host = host
        self.settings = settings
        self.planned = settings.active(only)
        self._of_nginx: dict[str, NginxListeners] = {}

    def here(self, target: Target, lb: Facts) -> tuple[Facts, tuple[str, ...], tuple[str, ...]]:
        """For a program that would fail to bind them: without addresses that are not here; which
        these are, and warnings of all that it can't have."""
        if not kind_of(target).local_only:
            return lb, (), ()
        addresses = ", ".join(map(str, lb.ha_ports))
        no_port = f"{target.name}: HA ports on {addresses} name no port to listen on"
        odd = (no_port,) if lb.ha_ports else ()
        if not self.host.live:
            return lb, (), odd
        local, anywhere = self._local(lb), self._bound_anywhere(target)
        kept, gone = facts.here(lb, lambda ip: ip in local or ip.version in anywhere)
        return kept, gone, (*odd, *(f"{target.name}: {one}" for one in gone))

    def known(self, target: Target, lb: Facts, made_of: object) -> Judged | None:
        """As an earlier run of this boot has judged it, if nothing has changed since; without its
        listeners."""
        if self._daemon(target) == "nginx":
            return self._nginx(target).known(target, lb, made_of)
        return self.judged(target, lb, made_of)

    def judged(self, target: Target, lb: Facts, made_of: object) -> Judged:
        """The target and its answer, with the listeners that its program can have in place of those
        that rules lead to."""
        if self._daemon(target) == "nginx":
            return self._nginx(target).judged(target, lb, made_of)
        if self._daemon(target) == "haproxy":
            return self._haproxy.judged(target, lb)
        return Judged(target, lb)

    def stuck(self, target: Target) -> str:
        """Why its program can take no change, or not this one as a whole."""
        return self._nginx(target).stuck(target) if self._daemon(target) == "nginx" else ""

    def closing(self, target: Target) -> str:
        """Why its program can take no change at all: a reload would close a port that it has, which
        rules lead to and no file of it is to have any more. Asked when all are judged."""
        return self._nginx(target).closing() if self._daemon(target) == "nginx" else ""

    @cached_property
    def _configurations(self) -> "Configurations":
        from .configurations import Configurations

        return Configurations(self.host, self.settings.active())

    @cached_property
    def _haproxy(self) -> "HaproxyListeners":
        from .haproxy_listeners import HaproxyListeners

        return HaproxyListeners(self.host, self._configurations)

    def _nginx(self, target: Target) -> "NginxListeners":
        """All targets of one nginx are judged together."""
        from .nginx_listeners import NginxListeners

        unit = unit_of(target)
        if unit not in self._of_nginx:
            found = NginxListeners(self.host, self._configurations, self.planned, unit)
            self._of_nginx[unit] = found
        return self._of_nginx[unit]

    def _daemon(self, target: Target) -> str:
        return kind_of(target).daemon if self.host.live else ""

    def _bound_anywhere(self, target: Target) -> Sequence[int]:
        """The IP versions of which a program can listen at addresses that are elsewhere: by the
        kernel's leave, or by haproxy's `transparent`."""
        if "transparent" in str(target.vars.get("parameters", "")).split():
            return (4, 6)
        return [one for one in (4, 6) if self.host.machine.binds_anywhere(one)]

    def _local(self, lb: Facts) -> frozenset[Address]:
        """The addresses that this machine has, or is given by another target."""
        giving = any(
            kind_of(one).addresses and all(map(self.host.find, one.requires))
            for one in self.planned
        )
        return self.host.machine.addresses().union(lb.floating_ips if giving else ())
