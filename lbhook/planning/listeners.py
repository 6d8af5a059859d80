"""The listeners that targets can have on this machine: at addresses that are here, and of nginx's
those that it can take; judged before a file is rendered from them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from ..config.settings import Settings
from ..config.shipped import kind_of
from ..config.targets import Target
from ..listening import haproxy_config, lines, nginx_verdict, taken
from ..listening.files import HOSTS
from ..listening.haproxy_config import Bind
from ..listening.nginx_config import ANY4, ANY6, DUAL, OURS, Listen
from ..listening.nginx_sockets import opened
from ..listening.nginx_verdict import Scene
from ..listening.taken import Taken
from ..metadata import facts
from ..metadata.facts import Facts, Listener
from ..metadata.model import Protocol
from ..metadata.reader import Address
from ..programs.daemon import places
from ..programs.host import Host, unit_of
from ..rendering import fingerprint
from .surroundings import Surroundings, stamps

_SHOWN = 8
# What tells that a name stands for another address, that haproxy may ask for other ports, or that
# it starts with the machine by now.
_BESIDE = (HOSTS, "/etc/haproxy/haproxy.cfg", "/etc/systemd/system/multi-user.target.wants")


class Judged(NamedTuple):
    """What a target's file is rendered from, and what is to be said of what it has not. `mark`
    stands for the listeners in a digest."""

    target: Target
    lb: Facts
    notes: tuple[str, ...] = ()
    mark: str = ""


class Listeners:
    """Judges for one host and one configuration."""

    def __init__(self, host: Host, settings: Settings, only: Sequence[str] = ()) -> None:
        self.host = host
        self.active = settings.active()
        self.planned = settings.active(only)
        self._added: dict[str, list[Listen]] = {}
        self._unchanged: list[Target] = []
        self._bound: dict[tuple[str, str], Sequence[Bind]] = {}
        self._closed: dict[tuple[str, int], str] = {}
        self._lb = Facts()

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

    def known(self, target: Target, lb: Facts, made_of: object) -> Judged | None:
        """As an earlier run of this boot has judged it, if nothing has changed since; without its
        listeners."""
        if not self._judges(target):
            return self._unjudged(target, lb)
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
        if not self._judges(target):
            return self._unjudged(target, lb)
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
        if not self._judges(target):
            return ""
        if self._added.get(str(target.path)) and self._lacks(target):
            return f"nginx can't take more listeners: {self._lacks(target)}"
        rest = [*self._around.configuration.listens, *self._own()]
        scene = Scene(rest, held=self._around.held, others=self._taken(target))
        return nginx_verdict.stuck(scene)

    def closing(self, target: Target) -> str:
        """Why nginx can take no change at all: a reload would close a port that it has, which rules
        lead to and no file of it is to have any more. Asked when all are judged."""
        if not (self._closed and self._judges(target)):
            return ""
        rest = {(one.protocol, one.port) for one in self._rest(None)}
        gone = next((port for _, port in sorted({*self._closed} - rest)), 0)
        return f"nginx can't reload: it would close port {gone}, which is left out" if gone else ""

    def _own(self) -> Iterator[Listen]:
        """What nginx reads of lbhook's files, or is to read of those that are judged later: what is
        for every address takes in somebody's line for a single one."""
        for one in filter(self._judges, self.active):
            if not self._around.configuration.server_of(str(one.path)):
                continue
            if str(one.path) in self._added:
                yield from self._added[str(one.path)]
                continue
            yield from self._installed(one)
            wide = lines.grouped(one, self._lb) if one.vars.get("listen") == "port" else ()
            for those in () if one in self._unchanged else wide:
                yield from (lines.line(one, those[0])._replace(ip=ip) for ip in (ANY4, ANY6))

    def _judges(self, target: Target) -> bool:
        return self.host.live and kind_of(target).daemon == "nginx"

    def _unjudged(self, target: Target, lb: Facts) -> Judged:
        """Without those that haproxy binds by somebody's own line, or can't because of another
        program, now or at its next start."""
        if not self.host.live or kind_of(target).daemon != "haproxy":
            return Judged(target, lb)
        wanted = [*lines.grouped(target, lb)]
        others, notes = self._beside_haproxy(target, {those[0].port for those in wanted})
        own = self._binds("haproxy", unit_of(target))
        found = [haproxy_config.taken(own, others, those) for those in wanted]
        gone = {one for those, _ in found for one in those}
        notes = [*notes, *(note for those, note in found if those)]
        if not notes:
            return Judged(target, lb)
        notes = [f"{target.name}: {note}" for note in notes]
        kept = tuple(one for one in lb.listeners if one not in gone)
        return Judged(target, replace(lb, listeners=kept), _shown(target, notes), f"{notes}")

    def _beside_haproxy(
        self, target: Target, ports: Collection[int]
    ) -> tuple[Sequence[Taken], Sequence[str]]:
        """What others have, or will have again, of the ports that haproxy is to bind; and what is
        said of those that it keeps for now."""
        if not self.host.root:
            return (), ()  # whose a socket is can't be told
        unit = unit_of(target)
        around = Surroundings(self.host, (), self._lent(unit), False, "haproxy", ports, unit)
        around.remember()
        asked, notes = self._asked(around, "nginx", ports)
        return [*asked, *around.taken(target.vars["ports"])], notes

    def _asked(
        self, around: Surroundings, other: str, ports: Collection[int]
    ) -> tuple[Sequence[Taken], Sequence[str]]:
        """What the other program will have by its owner's lines; and what is said of what this one
        keeps for now: it works, and that one does not."""
        found = [*around.asked(other, self._binds(other), ports)]
        kept = [one for one in found if around.has(one)]
        return [one for one in found if one not in kept], [*map(taken.kept, kept)]

    def _lent(self, unit: str) -> Collection[tuple[object, int]]:
        """The places of lbhook's files for programs of other units, haproxy among them."""
        installed = [one.target() for one in self.host.state.installed().values()]
        others = [one for one in installed if kind_of(one).daemon and unit_of(one) != unit]
        files = [self._content(one) for one in others]
        return {(place.ip, place.port) for file in files for place in places(file)}

    def _binds(self, program: str, unit: str = "") -> Sequence[Bind]:
        """Where a program's configuration without lbhook's files has it listen, if it is here."""
        if (program, unit) not in self._bound:
            own = {str(one.path) for one in self.active if kind_of(one).daemon == program}
            own.update(self.host.state.installed())
            found = self.host.daemon(program, unit).binds(own) if self.host.find(program) else ()
            self._bound[program, unit] = found
        return self._bound[program, unit]

    def _judge(self, target: Target, lb: Facts) -> tuple[tuple[Listener, ...], tuple[str, ...]]:
        groups = [*lines.grouped(target, lb)]
        asked, kept = self._asked(self._around, "haproxy", {those[0].port for those in groups})
        scene = Scene(
            rest=self._rest(target),
            servers=self._around.configuration.server_of(str(target.path)),
            context=lines.context(target),
            held=self._around.held,
            others=[*asked, *self._taken(target)],
        )
        scenes, none = scene.by_port(), scene._replace(rest=(), held=scene.held and (), others=())
        certified = bool(scene.servers & self._around.configuration.certified)
        secured = scene.servers and scene.servers <= self._around.configuration.secured
        form, has_ipv6 = str(target.vars.get("listen", "address")), self.host.machine.has_ipv6()
        added, listeners = self._added.setdefault(str(target.path), []), []
        notes = [f"{target.name}: {one}" for one in kept]
        for those in groups:
            wanted = [lines.line(target, one) for one in those]
            if secured:
                wanted = [one._replace(words=(*one.words, "ssl")) for one in wanted]
            # HTTP/3 answers from the address that was asked.
            shape = form if those[0].protocol is Protocol.TCP else "address"
            at = scenes.get(those[0].port, none)._replace(
                certified=certified and lines.is_tls(those)
            )
            found = nginx_verdict.judge(at, wanted, shape, has_ipv6)
            if nginx_verdict.closes(at, wanted, found):
                self._closed[wanted[0].protocol, wanted[0].port] = str(target.path)
            added += found.lines
            listeners += [lines.listener(one, those) for one in found.lines]
            notes += [f"{target.name}: {one}" for one in found.notes]
        if has_ipv6 and self._lacks(target):
            # What no rule asks for goes first.
            listeners = [one for one in listeners if one.rules]
            added[:] = [one for one in added if one.ip in {each.ip for each in listeners}]
        return tuple(listeners), _shown(target, notes)

    @cached_property
    def _around(self) -> Surroundings:
        own = [one for one in self.active if kind_of(one).daemon == "nginx"]
        installed = self.host.state.installed()
        gone = [path for path, one in installed.items() if kind_of(one.target()).daemon == "nginx"]
        lent = {
            (place.ip, place.port)
            for path, one in installed.items()
            if kind_of(one.target()).daemon not in ("", "nginx")
            for place in places(self._content(one.target()))
        }
        paths = {*gone, *(str(one.path) for one in own)}
        return Surroundings(self.host, paths, lent, any(one.reload for one in own))

    def _content(self, target: Target) -> bytes:
        found = self.host.tree.state(target.path)
        return found.content if found else b""

    def _lacks(self, target: Target) -> str:
        added = self._added.get(str(target.path), ())
        return self._around.room.lacks(opened([*self._rest(target), *added]))

    def _rest(self, target: Target | None) -> list[Listen]:
        """What stands elsewhere, other files of lbhook's among it."""
        found = [*self._around.configuration.listens]
        for path, added in self._added.items():
            found += added if not target or path != str(target.path) else []
        stay = (one for one in self.active if self._judges(one) and one not in self.planned)
        for other in (*self._unchanged, *stay):
            known = str(other.path) in self._added or (target and other.path == target.path)
            found += () if known else self._installed(other)
        return found

    def _installed(self, target: Target) -> Iterator[Listen]:
        context, content = lines.context(target), self._content(target)
        duals = lines.duals(content)
        for place in places(content):
            words = (
                ("udp",) if place.protocol == "udp" else tuple(target.vars["parameters"].split())
            )
            if place.ip == ANY6 and place.port in duals:
                words += (DUAL,)
            yield Listen(place.ip, place.port, words, context, OURS, str(target.path))

    def _taken(self, target: Target) -> list[Taken]:
        return [*self._around.taken(target.vars["ports"])]

    def _digest(self, target: Target, made_of: object, looked: Sequence[str]) -> str:
        """What is the same only as long as the verdict would be; empty if that can't be told."""
        sockets = self.host.kernel.listeners() if self.host.kernel else ""
        if not sockets or not looked:
            return ""
        files = stamps(self.host.machine.root, looked)
        return fingerprint.digest(target, self.active, made_of, sockets, files)


def _shown(target: Target, notes: Sequence[str]) -> tuple[str, ...]:
    more = [f"{target.name}: {len(notes) - _SHOWN} more ports are left out"]
    return (*notes[:_SHOWN], *(more if len(notes) > _SHOWN else ()))


def _as_it_is(target: Target) -> Target:
    """Rendered with the listeners that it is given."""
    return target._replace(vars={**target.vars, "listen": "address"})
