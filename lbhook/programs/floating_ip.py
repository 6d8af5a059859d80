"""Frontend addresses of Floating IP rules, on the loopback interface of this machine.

Only what lbhook gave it is taken away again: which addresses these are is written down before
one is added, in the runtime directory, which lives as long as they do.
"""

import ipaddress
from collections.abc import Iterable

from ..config.shipped import kind_of
from ..config.targets import Target
from ..errors import ConfigError, ReloadError
from ..metadata.reader import Address
from ..plan import Change, Outcome
from .host import Host

_GONE = "Cannot assign requested address"


def listed(target: Target, content: bytes) -> tuple[Address, ...]:
    """The addresses of a file: one a line, with or without a comment behind it.

    Raises `ConfigError` with each line that is none.
    """
    found, problems = [], []
    for number, line in enumerate(content.decode("utf-8", "backslashreplace").splitlines(), 1):
        word = line.partition("#")[0].strip()
        try:
            found += [ipaddress.ip_address(word)] if word else []
        except ValueError:
            problems.append(f"{target.name}: {target.path}:{number}: {word} is not an address")
    if problems:
        raise ConfigError(*problems, hint=f"fix {target.template}")
    return tuple(dict.fromkeys(found))


def coming(host: Host, changes: Iterable[Change]) -> frozenset[Address]:
    """The addresses that this machine lacks and `changes` will give it."""
    wanted = {address for one in changes for address in _listed(one)}
    return frozenset(wanted - host.machine.addresses() if wanted else ())


def lend(host: Host, changes: Iterable[Change]) -> None:
    """Add what files to come list, before they are installed: nginx's test of a configuration
    binds it. Raises `ReloadError`."""
    for change in changes:
        _add(host, change.target, _listed(change))


def load(host: Host, target: Target, content: bytes) -> None:
    """Add what a file lists, and take away what lbhook added and the file lists no more.

    Raises `ReloadError` with the command and its output.
    """
    wanted = listed(target, content)
    _add(host, target, wanted)
    for address in _own(host, target) - set(wanted):
        _ip(host, target, "del", address, but=_GONE)
    _keep(host, target, _own(host, target) & set(wanted))


def take_back(host: Host, changes: Iterable[Change]) -> None:
    """Take away what was lent, or loaded, and is in no file as it is now. Raises `ReloadError`."""
    for change in changes:
        if kind_of(change.target).addresses:
            load(host, change.target, host.tree.read(change.path) or b"")


def problem(host: Host, target: Target, content: bytes) -> str:
    """What of a file this machine lacks, or still has of an earlier one; empty if nothing."""
    here, wanted = host.machine.addresses(), listed(target, content)
    lacking = [address for address in wanted if address not in here]
    if lacking:
        return f"the loopback interface lacks {', '.join(map(str, lacking))}"
    left = _own(host, target) & here - set(wanted)
    return f"the loopback interface still has {', '.join(map(str, left))}" if left else ""


def _listed(change: Change) -> tuple[Address, ...]:
    left_out = change.outcome in (Outcome.SKIPPED, Outcome.BLOCKED)
    if left_out or not change.expected or not kind_of(change.target).addresses:
        return ()
    return listed(change.target, change.expected.content)


def _add(host: Host, target: Target, wanted: Iterable[Address]) -> None:
    here = host.machine.addresses()
    new = [address for address in wanted if address not in here]
    if new:
        _keep(host, target, _own(host, target).union(new))
    for address in new:
        _ip(host, target, "add", address)


def _ip(host: Host, target: Target, verb: str, address: Address, but: str = "") -> None:
    """One address of the loopback interface: alone, since a wider prefix would make its whole
    network local and cut the machine off its neighbours."""
    place = f"{address}/{address.max_prefixlen}"
    # Nobody else can have it, and until the kernel knows that, no program could bind it.
    words = ("nodad",) if verb == "add" and address.version == 6 else ()
    result = host.run(("ip", "address", verb, place, "dev", "lo", *words), timeout=target.timeout)
    if not result.ok and not (but and but in result.output):
        raise ReloadError(f"{target.name}: {result.report()}")


def _own(host: Host, target: Target) -> frozenset[Address]:
    words = host.state.own_addresses().get(str(target.path), ())
    return frozenset(map(ipaddress.ip_address, words))


def _keep(host: Host, target: Target, own: frozenset[Address]) -> None:
    known = host.state.own_addresses()
    if own != _own(host, target):
        words = sorted(map(str, own))
        host.state.keep_own_addresses({**known, str(target.path): words})
