"""Which ports a running program may open: not everybody may open those below 1024."""

from ..listening.nginx_config import ANY4, Listen
from ..listening.taken import leave
from ..system import rights
from .surroundings import Surroundings


def forbidden(around: Surroundings, port: int) -> str:
    """Why it may not open one that it has not got, and what to do; empty if it may, or if it does
    not run. Without workers haproxy has given up its rights, and has them again when it starts."""
    machine, pid = around.host.machine, around.main_pid
    own = rights.of_process(machine.status(pid) if machine.children(pid) else "")
    if own.binds or port >= machine.first_port():
        return ""
    if any(one.port == port for one in around.held or ()):
        return ""
    lacks = f"{around.program}, as user {own.user or 'root'}, has no CAP_NET_BIND_SERVICE for it"
    rest = leave(Listen(ANY4, port))
    return f"{lacks}; give it that in its unit and restart it once, or {rest}"
