"""What the firewall's table has counted, as metrics: listeners, drops, health probes, connections.

There are never more than so many listeners, lest a VM with thousands of rules fill its Prometheus.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..firewall.kernel import Firewall, FirewallError
from ..firewall.verdict import Counter, Element, Tally
from ..programs.host import Host

MOST_LISTENERS = 100
_LISTENERS = ("listeners4", "listeners6")
_HA_PORTS = ("ha_ports4", "ha_ports6")
_PROBES = ("probes4", "probes6")
_PROTOCOLS = {"6": "tcp", "17": "udp"}
_DROPS = ("dropped", "invalid", "restricted")
LAST_PROBE = "lbhook_last_probe_timestamp_seconds"
_PROBED = re.compile(r'^lbhook_probe_packets_total\{command="apply",[^}]*\} (\d{1,20})$', re.M)
_KNOWN = re.compile(rf'^{LAST_PROBE}\{{command="apply"\}} (\d{{1,15}}(?:\.\d+)?)$', re.M)
Sample = tuple[str, str, float]


class Traffic(NamedTuple):
    """What was counted: by address, protocol and port; by reason; by source. `flows` are the
    connections that the kernel tracks, and how many it can."""

    listeners: Mapping[tuple[str, str, str], Counter]
    drops: Mapping[str, Counter]
    probes: Mapping[str, Counter]
    flows: tuple[int, int]

    def samples(self, before: str, now: float) -> Iterator[Sample]:
        """Name, labels and value of each metric; `before` are the metrics of the last run."""
        yield from self._of_listeners()
        for reason, counter in self.drops.items():
            yield "lbhook_dropped_packets_total", f',reason="{reason}"', counter.packets
            yield "lbhook_dropped_bytes_total", f',reason="{reason}"', counter.bytes
        for source, counter in self.probes.items():
            yield "lbhook_probe_packets_total", f',source="{source}"', counter.packets
        if self.probes:
            yield LAST_PROBE, "", self._last_probe(before, now)
        yield "lbhook_tracked_connections", "", self.flows[0]
        yield "lbhook_tracked_connections_limit", "", self.flows[1]

    def _of_listeners(self) -> Iterator[Sample]:
        shown = [*self.listeners.items()][:MOST_LISTENERS]
        for (ip, protocol, port), counter in shown:
            labels = f',ip="{ip}",protocol="{protocol}",port="{port}"'
            yield "lbhook_listener_packets_total", labels, counter.packets
            yield "lbhook_listener_bytes_total", labels, counter.bytes
        counters = self.listeners.values()
        yield "lbhook_listeners", "", len(self.listeners)
        yield "lbhook_listeners_left_out", "", len(self.listeners) - len(shown)
        yield "lbhook_accepted_packets_total", "", sum(one.packets for one in counters)
        yield "lbhook_accepted_bytes_total", "", sum(one.bytes for one in counters)

    def _last_probe(self, before: str, now: float) -> float:
        """Now, if probes were counted since the last run; a table that was loaded anew has begun
        at nought."""
        counted = sum(one.packets for one in self.probes.values())
        known = _KNOWN.search(before)
        if counted and counted != sum(map(int, _PROBED.findall(before))):
            return now
        return min(now, float(known[1])) if known else 0.0


def seen(host: Host, firewall: Firewall | None = None) -> Traffic | None:
    """What is to be told of this machine; None where lbhook has no table, or it can't be read."""
    if not (host.live and host.root and host.kernel):
        return None
    try:
        tally = (firewall or Firewall()).tally()
    except FirewallError:
        return None
    if not tally.rules:
        return None
    places = {**_by_key(tally, _LISTENERS), **_by_key(tally, _HA_PORTS)}
    return Traffic(
        listeners={_place(key): places[key] for key in sorted(places, key=_place)},
        drops=_drops(tally),
        probes={key[0]: counter for key, counter in sorted(_by_key(tally, _PROBES).items())},
        flows=host.machine.tracked(),
    )


def _by_key(tally: Tally, names: Iterable[str]) -> dict[Element, Counter]:
    return {key: one for name in names for key, one in tally.elements.get(name, {}).items()}


def _place(key: Element) -> tuple[str, str, str]:
    """Of HA ports an address has every protocol and port."""
    ip, protocol, port = (*key, "all", "*")[:3]
    return ip, _PROTOCOLS.get(protocol, protocol), port


def _drops(tally: Tally) -> dict[str, Counter]:
    """By the first word of the comment of the rule that counts."""
    found: dict[str, Counter] = {}
    for rule in (rule for rules in tally.rules.values() for rule in rules):
        reason, counter = rule.comment.partition(" ")[0], rule.counter
        if counter and reason in _DROPS:
            known = found.get(reason, Counter(packets=0, bytes=0))
            found[reason] = Counter(
                packets=known.packets + counter.packets, bytes=known.bytes + counter.bytes
            )
    return dict(sorted(found.items()))
