"""Which listeners nginx can have, by what it holds, what its whole configuration asks for, and what
other programs have; as an earlier run has judged it, if nothing has changed since."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from ..config.shipped import kind_of
from ..config.targets import Target
from ..listening import lines, nginx_verdict
from ..listening.files import HOSTS
from ..listening.nginx_config import ANY4, ANY6, Listen
from ..listening.nginx_sockets import opened
from ..listening.nginx_verdict import Scene
from ..listening.taken import Taken
from ..metadata.facts import Facts, Listener
from ..metadata.model import Protocol
from ..programs.host import Host, unit_of
from ..rendering import fingerprint
from .configurations import Configurations
from .judged import Judged, shown
from .permitted import forbidden, parted, versions
from .surroundings import Surroundings

_NGINX = "nginx"
# What tells that a name stands for another address, that haproxy may ask for other ports, or that
# it starts with the machine by now.
_BESIDE = (HOSTS, "/etc/haproxy/haproxy.cfg", "/etc/systemd/system/multi-user.target.wants")


class NginxListeners:
    """Judges for the nginx of one unit; only `planned` targets are to be written."""

    def __init__(
        self, host: Host, configurations: Configurations, planned: Sequence[Target], unit: str
    ) -> None:
        self.host = host
        self.configurations = configurations
        self.unit = unit
        own = (one for one in configurations.active if kind_of(one).daemon == _NGINX)
        self.active = [one for one in own if unit_of(one) == unit]
        self.planned = planned
        self._added: dict[str, list[Listen]] = {}
        self._unchanged: list[Target] = []
        self._closed: dict[tuple[str, int], str] = {}
        self._lb = Facts()

    def known(self, target: Target, lb: Facts, made_of: object) -> Judged | None:
        """As an earlier run of this boot has judged it, if nothing has changed since; without its
        listeners."""
        self._lb = lb
        record = self.host.state.judged().get(str(target.path), {})
        looked = tuple(record.get("looked", ()))
        if not record or record.get("of") != self._digest(target, made_of, looked):
            return None
        self.host.judged[str(target.path)] = record
        self._unchanged.append(target)
        return Judged(_as_it_is(target), lb, tuple(record["notes"]), record["mark"])

    def judged(self, target: Target, lb: Facts, made_of: object) -> Judged:
        """The target and its answer, with the listeners that nginx can have in place of those
        that rules lead to."""
        found, notes = self._judge(target, lb)
        mark = fingerprint.digest(
            [(one.ip, one.protocol.value, one.port, one.dual) for one in found]
        )
        self._around.remember()
        looked = self._around.looked_at()
        looked = (*looked, *_BESIDE) if looked else ()
        of = self._digest(target, made_of, looked)
        record = {"of": of, "looked": looked, "notes": notes, "mark": mark}
        lasting = of and str(target.path) not in self._closed.values()
        self.host.judged[str(target.path)] = record if lasting else {}
        return Judged(_as_it_is(target), replace(lb, listeners=found), notes, mark)

    def stuck(self, target: Target) -> str:
        """Why nginx can take no change, or not this one as a whole."""
        if self._added.get(str(target.path)) and self._lacks(target):
            return f"nginx can't take more listeners: {self._lacks(target)}"
        rest = [*self._around.configuration.listens, *self._own()]
        scene = Scene(rest, held=self._around.held, others=self._taken(target))
        return nginx_verdict.stuck(scene)

    def closing(self) -> str:
        """Why nginx can take no change at all: a reload would close a port that it has, which rules
        lead to and no file of it is to have any more. Asked when all are judged."""
        rest = {(one.protocol, one.port) for one in self._rest(None)} if self._closed else set()
        gone = next((port for _, port in sorted({*self._closed} - rest)), 0)
        return f"nginx can't reload: it would close port {gone}, which is left out" if gone else ""

    def _judge(self, target: Target, lb: Facts) -> tuple[tuple[Listener, ...], tuple[str, ...]]:
        groups, barred = parted(self._around, [*lines.grouped(target, lb)])
        ports = {those[0].port for those in groups}
        asked, notes = self.configurations.asked(self._around, "haproxy", ports)
        scene = Scene(
            rest=self._rest(target),
            servers=self._around.configuration.server_of(str(target.path)),
            context=lines.context(target),
            held=self._around.held,
            others=[*asked, *self._taken(target)],
        )
        scenes, none = scene.by_port(), scene._replace(rest=(), held=scene.held and (), others=())
        certified = bool(scene.servers & self._around.configuration.certified)
        # Only there it matters.
        mine = self.configurations.listens(target) if certified else ()
        there = {one.port for one in mine}
        secured = scene.servers and scene.servers <= self._around.configuration.secured
        form = str(target.vars.get("listen", "address"))
        has_ipv6 = self.host.machine.has_ipv6() and 6 in versions(self._around)
        added, listeners = self._added.setdefault(str(target.path), []), []
        notes, barred_by = [*notes, *barred], forbidden(self._around)
        for those in groups:
            wanted = [lines.line(target, one) for one in those]
            why = barred_by(wanted[0].port)
            if why:
                notes.append(f"port {wanted[0].port} is left out: {why}")
                continue
            if secured:
                wanted = [one._replace(words=(*one.words, "ssl")) for one in wanted]
            # HTTP/3 answers from the address that was asked.
            shape = form if those[0].protocol is Protocol.TCP else "address"
            at = scenes.get(those[0].port, none)._replace(
                certified=certified and lines.is_tls(those, there)
            )
            found = nginx_verdict.judge(at, wanted, shape, has_ipv6)
            if nginx_verdict.closes(at, wanted, found):
                self._closed[wanted[0].protocol, wanted[0].port] = str(target.path)
            added += found.lines
            listeners += [lines.listener(one, those, at.rest) for one in found.lines]
            notes += found.notes
        if has_ipv6 and self._lacks(target):
            # What no rule asks for goes first.
            listeners = [one for one in listeners if one.rules]
            added[:] = [one for one in added if one.ip in {each.ip for each in listeners}]
        return tuple(listeners), shown(target, notes)

    @cached_property
    def _around(self) -> Surroundings:
        own, lent = self.configurations.own(_NGINX), self.configurations.lent(_NGINX, self.unit)
        anywhere = any(one.reload for one in self.active)
        return Surroundings(self.host, own, lent, anywhere, unit=self.unit)

    def _lacks(self, target: Target) -> str:
        added = self._added.get(str(target.path), ())
        return self._around.room.lacks(opened([*self._rest(target), *added]))

    def _rest(self, target: Target | None) -> list[Listen]:
        """What stands elsewhere, other files of lbhook's among it."""
        found = [*self._around.configuration.listens]
        for path, added in self._added.items():
            found += added if not target or path != str(target.path) else []
        stay = (one for one in self.active if one not in self.planned)
        for other in (*self._unchanged, *stay):
            known = str(other.path) in self._added or (target and other.path == target.path)
            found += () if known else self.configurations.listens(other)
        return found

    def _own(self) -> Iterator[Listen]:
        """What nginx reads of lbhook's files, or is to read of those that are judged later: what is
        for every address takes in somebody's line for a single one."""
        for one in self.active:
            if not self._around.configuration.server_of(str(one.path)):
                continue
            if str(one.path) in self._added:
                yield from self._added[str(one.path)]
                continue
            yield from self.configurations.listens(one)
            wide = lines.grouped(one, self._lb) if one.vars.get("listen") == "port" else ()
            for those in () if one in self._unchanged else wide:
                yield from (lines.line(one, those[0])._replace(ip=ip) for ip in (ANY4, ANY6))

    def _taken(self, target: Target) -> list[Taken]:
        return [*self._around.taken(target.vars["ports"])]

    def _digest(self, target: Target, made_of: object, looked: Sequence[str]) -> str:
        """What is the same only as long as the verdict would be; empty if that can't be told."""
        sockets = self.host.kernel.listeners() if self.host.kernel else ""
        if not sockets or not looked:
            return ""
        files = stamps(self.host.machine.root, looked)
        return fingerprint.digest(target, self.configurations.active, made_of, sockets, files)


def stamps(root: Path, paths: Sequence[str]) -> tuple[object, ...]:
    """What differs once a file or a directory has changed."""

    def stamp(path: str) -> object:
        try:
            found = (root / path.lstrip("/")).stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    return tuple(map(stamp, paths))


def _as_it_is(target: Target) -> Target:
    """Rendered with the listeners that it is given."""
    return target._replace(vars={**target.vars, "listen": "address"})
