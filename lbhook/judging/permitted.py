"""What a program may open: a unit may keep it from IPv6, and ports below 1024 take a right."""

from collections.abc import Callable, Sequence

from ..listening.nginx_config import ANY4, Listen
from ..listening.taken import leave
from ..metadata.facts import Listener
from ..system import rights, unit_properties
from .surroundings import Surroundings


def forbidden(around: Surroundings) -> Callable[[int], str]:
    """Tells why it may not open a port that it has not got, as it runs or would start, and what to
    do; empty if it may. Without workers haproxy has given up its rights, and has them again when
    it starts."""
    machine, own = around.host.machine, _rights(around)
    first, held = machine.first_port(), {one.port for one in around.held or ()}
    lacks = f"{around.program}, as user {own.user or 'root'}, has no CAP_NET_BIND_SERVICE for it"

    def why(port: int) -> str:
        if own.binds or port >= first or port in held:
            return ""
        rest = leave(Listen(ANY4, port))
        return f"{lacks}; give it that in its unit and restart it once, or {rest}"

    return why


def _rights(around: Surroundings) -> rights.Rights:
    host, pid = around.host, around.main_pid
    if pid or not host.machine.has_systemd():
        return rights.of_process(host.machine.status(pid) if host.machine.children(pid) else "")
    command = host.services.command(around.unit, around.program)
    program = host.machine.root / command[0].lstrip("/") if command else None
    return rights.of_unit(host.units.properties(around.unit), program)


def versions(around: Surroundings) -> Sequence[int]:
    """The versions of IP that its unit lets it have; of one that has IPv6 nobody is asked."""
    host = around.host
    has = any(one.ip.version == 6 for one in around.held or ())
    shown = host.units.properties(around.unit) if host.machine.has_systemd() and not has else {}
    return [*unit_properties.ip_versions(shown)]


def parted(
    around: Surroundings, groups: Sequence[Sequence[Listener]]
) -> tuple[Sequence[Sequence[Listener]], Sequence[str]]:
    """The listeners of each port without those that its unit keeps it from, and what is said of
    these."""
    allowed = versions(around)
    kept, notes = [], []
    for those in groups:
        left = [one for one in those if one.ip.version in allowed]
        kept += [left] if left else []
        if len(left) < len(those):
            port, version = those[0].port, next(iter({4, 6} - {*allowed}))
            why = f"{around.unit} has RestrictAddressFamilies= without that; add it there"
            rest = leave(Listen(ANY4, port))
            notes.append(f"port {port} of IPv{version} is left out: {why}, or {rest}")
    return kept, notes
