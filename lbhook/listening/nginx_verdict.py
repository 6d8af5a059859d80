"""Which `listen` lines nginx can take, judged for each port by itself before anything is touched.

A line is good if nothing that works stops working for it: no other program or server loses what it
has, nginx can start with it, and a running nginx can open it by a signal.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from . import nginx_sockets, taken
from .nginx_config import ANY4, ANY6, DUAL, OURS, Listen
from .nginx_sockets import covers, opened, unopenable
from .taken import Taken, leave

_ANYWHERE = (ANY4, ANY6)
_STOPPED = "`systemctl stop nginx`, `lbhook apply`, `systemctl start nginx`"
P = TypeVar("P", Listen, Taken)


class Scene(NamedTuple):
    """What there is beside a file: the rest of the configuration, the server blocks that include
    it, what nginx holds (None if it does not run), and what other programs hold. `certified` says
    that such a block has a certificate, and that clients of the port speak TLS."""

    rest: Sequence[Listen] = ()
    servers: frozenset[int] = frozenset()
    context: str = "http"
    held: Sequence[Listen] | None = None
    others: Sequence[Taken] = ()
    certified: bool = False

    def by_port(self) -> "dict[int, Scene]":
        """What matters at each port; at others it is an empty one of the same context."""
        rest, held, others = _by_port(self.rest), _by_port(self.held or ()), _by_port(self.others)
        return {
            port: self._replace(
                rest=rest.get(port, ()),
                held=None if self.held is None else held.get(port, ()),
                others=others.get(port, ()),
            )
            for port in {*rest, *held, *others}
        }


class Verdict(NamedTuple):
    """The lines that a file is to have at a port, and what is to be said of those that it has
    not, or has in place of others."""

    lines: tuple[Listen, ...] = ()
    notes: tuple[str, ...] = ()


def judge(scene: Scene, wanted: Sequence[Listen], form: str, has_ipv6: bool = True) -> Verdict:
    """What to write for `wanted`, the addresses of the scene's port that rules lead to. As "port"
    that is every address, of IPv6 as well, as "address" those alone. Where nginx can't take one
    form it is the other; what it can't take in either is left out."""
    first = wanted[0]
    dual_peers = [one for one in _peers(scene, first) if one.dual]
    if dual_peers and (form == "port" or any(one.server == OURS for one in dual_peers)):
        # One socket takes both families.
        return _family(scene, first._replace(ip=ANY6), wanted, form)
    held = any(one.dual and one.protocol == first.protocol for one in scene.held or ())
    # nginx lets one server block alone say the word.
    if held and len(scene.servers) < 2:
        # It stays as long as nginx runs, and the word brings it back after a restart.
        dual = first._replace(ip=ANY6, words=(*first.words, DUAL))
        return _family(scene, dual, wanted, form)
    found: list[Verdict] = []
    beside: tuple[Listen, ...] = ()
    for version, everywhere in ((4, ANY4), (6, ANY6)):
        those = [one for one in wanted if one.ip.version == version]
        wide = first._replace(ip=everywhere)
        if those:
            found.append(_family(scene, wide, those, form))
        elif form == "port" and (version == 4 or has_ipv6):
            beside = _beside(scene, wide)
    lines = tuple(line for one in found for line in one.lines)
    is_wide = any(line.ip in _ANYWHERE for line in lines)
    # What no rule asks for comes only with what one has opened everywhere.
    more = beside if is_wide else ()
    return Verdict((*lines, *more), tuple(note for one in found for note in one.notes))


def _family(scene: Scene, wide: Listen, wanted: Sequence[Listen], form: str) -> Verdict:
    own = _own(scene, wanted)
    if own:
        others = [one for one in own if one.speaks != wide.speaks]
        return Verdict(notes=tuple(_left_out(wide, _itself(one)) for one in others[:1]))
    there = {(one.context, one.ip) for one in _peers(scene, wide)}
    joined = [one for one in wanted if (scene.context, one.ip) in there]
    wider, narrow = Verdict((wide, *joined)), _narrow(scene, wanted)
    # What is at the very address tells more than what is at any.
    problem = next(filter(None, (_problem(scene, one) for one in (*joined, wide))), "")
    if form == "port":
        if not problem:
            return wider
        return narrow if narrow.lines else Verdict(notes=(_left_out(wide, problem),))
    held = {one.ip for one in scene.held or () if one.protocol == wide.protocol}
    free = {one.ip for one in narrow.lines} <= held or wide.protocol == "udp"
    # To share what another server block opens everywhere opens nothing.
    having = [one.line for one in _peers(scene, wide) if one.ip == wide.ip and not narrow.lines]
    if problem or (narrow.lines and free) or not (having or wide.ip in held):
        return narrow
    why = f"nginx listens on {wide.place}, and a reload can't narrow that; run once {_STOPPED}"
    for line in having[:1]:
        why = f'{line} listens on {wide.place}; give that an address, or set `listen = "port"`'
    return Verdict(wider.lines, (f"port {wide.port} stays open on every address: {why}",))


def _narrow(scene: Scene, wanted: Sequence[Listen]) -> Verdict:
    """Each address by itself."""
    problems = {one: _problem(scene, one) for one in wanted}
    good = tuple(one for one in wanted if not problems[one])
    notes = [_left_out(one, problems[one], one.place) for one in wanted if problems[one]]
    return Verdict(good, tuple(notes))


def _beside(scene: Scene, wide: Listen) -> tuple[Listen, ...]:
    """A family that no rule leads to, at the same port: `localhost` is in both. If it can't be,
    nobody misses it."""
    alone = [one for one in scene.rest if one.server in scene.servers]
    return () if alone or _problem(scene, wide) else (wide,)


def _own(scene: Scene, wanted: Sequence[Listen]) -> list[Listen]:
    """The lines of the server block itself that take what the rules send, if they take all."""
    lines = [one for one in scene.rest if one.server in scene.servers]
    taking = [
        [one for one in lines if _same(scene, one, each) and covers(one, each)] for each in wanted
    ]
    return [one for those in taking for one in those] if all(taking) else []


def _peers(scene: Scene, one: Listen) -> list[Listen]:
    return [other for other in scene.rest if _same(scene, other, one)]


def _same(scene: Scene, one: Listen, other: Listen) -> bool:
    return one.context == scene.context and one.protocol == other.protocol


def _problem(scene: Scene, one: Listen) -> str:
    """Why nginx can't have a line, and what to do; empty if it can."""
    others = (each(scene, one) for each in (_unlike, _bare, _before, _at_start, _at_reload))
    return taken.by_another(scene.others, one) or next(filter(None, others), "")


def _unlike(scene: Scene, one: Listen) -> str:
    """At one place all servers speak the same, and one of them alone may set its options."""
    for other in _peers(scene, one):
        if other.ip != one.ip:
            continue
        if other.speaks != one.speaks:
            theirs, ours = _speaking(other), _speaking(one)
            return f"{other.line} listens there {theirs}, this target {ours}; {leave(one)}"
        if scene.context == "stream":
            return f"{other.line} listens there already; {leave(one)}"
        if "default_server" in other.words and "default_server" in one.words:
            return f"{other.line} is its default_server already; leave that out of `parameters`"
        if other.binds and one.binds:
            return f"{other.line} sets its options already; leave them out of `parameters`"
    return ""


def _bare(scene: Scene, one: Listen) -> str:
    if not scene.certified or {"ssl", "quic"} & one.speaks:
        return ""
    why = "its server block has a certificate, and this target no `ssl`; keep its own line with"
    return f'{why} `ssl`, or give it a target with `parameters = "ssl"`, and {leave(one)}'


def _before(scene: Scene, one: Listen) -> str:
    """A listener for an address takes it from those for every address."""
    peers = _peers(scene, one)
    if one.ip in _ANYWHERE or any(other.ip == one.ip for other in peers):
        return ""
    for other in peers:
        if covers(other, one) and other.server not in scene.servers:
            share = other.speaks == one.speaks and scene.context == "http"
            remedy = '`listen = "port"` shares it' if share else leave(one)
            return f"it would take connections from {other.place} of {other.line}; {remedy}"
    return ""


def _at_start(scene: Scene, one: Listen) -> str:
    known = {_key(*pair) for pair in nginx_sockets.clashes(opened(scene.rest))}
    for pair in nginx_sockets.clashes(opened([*scene.rest, one])):
        if _key(*pair) not in known:
            other = pair[0] if pair[1].line == one.line else pair[1]
            where = f"in {other.context} {{}} " if other.context != one.context else ""
            remedy = leave(one)
            return f"nginx could not start: {other.line} {where}opens {other.place}; {remedy}"
    return ""


def _at_reload(scene: Scene, one: Listen) -> str:
    held = scene.held or ()
    known = {_key(*pair) for pair in unopenable(opened(scene.rest), held)}
    for pair in unopenable(opened([*scene.rest, one]), held):
        if _key(*pair) not in known:
            held_by = f"nginx listens on {pair[1].place}"
            return f"{held_by}, and a reload can't change that; run once {_STOPPED}"
    return ""


def closes(scene: Scene, wanted: Sequence[Listen], found: Verdict) -> bool:
    """Whether nginx has a port that rules lead to, and this file is not to: a reload closes it."""
    held = any(each.protocol == wanted[0].protocol for each in scene.held or ())
    return held and not found.lines


def stuck(scene: Scene) -> str:
    """Why a running nginx can't take the rest of its configuration by any signal; empty if it can.
    Lines of lbhook's only take in others: whether nginx can have them is judged before."""
    sockets = [one for one in opened(scene.rest) if one.server != OURS]
    for one, other in unopenable(sockets, scene.held or ()):
        why = f"{one.line} needs {one.place}, but nginx listens on {other.place}"
        return f"nginx can't reload: {why}; run once {_STOPPED}"
    held = {(one.protocol, one.ip, one.port) for one in scene.held or ()}
    new = [one for one in sockets if (one.protocol, one.ip, one.port) not in held]
    for one in new if scene.held is not None else ():
        for having in scene.others:
            if having.there and having.excludes(one):
                why = f"{one.line} needs {one.place}, but {having}"
                return f"nginx can't reload: {why}; change that line, or stop that program"
    return ""


def _by_port(things: Iterable[P]) -> dict[int, list[P]]:
    found: dict[int, list[P]] = {}
    for one in things:
        found.setdefault(one.port, []).append(one)
    return found


def _key(one: Listen, other: Listen) -> tuple[object, ...]:
    return (one.context, one.place, other.context, other.place)


def _speaking(one: Listen) -> str:
    return f"with {' and '.join(sorted(one.speaks))}" if one.speaks else "in plain text"


def _itself(one: Listen) -> str:
    return f"{one.line} of the same server block already has it {_speaking(one)}; {leave(one)}"


def _left_out(one: Listen, why: str, what: str = "") -> str:
    over = "UDP " if one.protocol == "udp" else ""
    return f"{over}{what or f'port {one.port}'} is left out: {why}"
