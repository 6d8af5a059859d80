"""Which connections are counted while a VM is drained, and how long they are waited for."""

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lbhook.firewall.kernel import Firewall, FirewallError
from lbhook.firewall.verdict import Counter, Element
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts, derive
from lbhook.system.machine import Machine
from lbhook.traffic.conntrack import Tracked
from lbhook.traffic.flows import Flows, Left

from ..stand import body

HEAD = "sl local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode\n"
HERE, CLIENT, PROBE = "0400000A", "0771C6C6", "10813FA8"
ESTABLISHED, LISTEN, FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT = "01", "0A", "04", "05", "06"
PROBES = (ipaddress.ip_address("168.63.129.16"),)


class Refused(Firewall):
    """What the kernel counts of refused probes; None where it can't be asked."""

    def __init__(self, *looks: Mapping[int, int] | None) -> None:
        self.looks = list(looks)

    def counters(self, names: Sequence[str], table: str = "") -> Mapping[Element, Counter | None]:
        """The next look; the last one stays."""
        assert (tuple(names), table) == (("refused",), "lbhook_drain")
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if found is None:
            raise FirewallError("not permitted")
        return {(str(port),): Counter(packets=one, bytes=0) for port, one in found.items()}


def row(local: str, remote: str, state: str) -> str:
    """A socket as /proc/net/tcp has it."""
    return f"0: {local} {remote} {state} 0:0 0:0 0 0 0 1 1\n"


def flows(
    place: Path, *rows: str, tracked: Sequence[Tracked] = (), lb: Facts | None = None
) -> Flows:
    """Those of a machine with such sockets, where a rule leads to port 443."""
    (place / "proc/self/net").mkdir(parents=True, exist_ok=True)
    listening = row(f"{HERE}:01BB", "00000000:0000", LISTEN)
    (place / "proc/self/net/tcp").write_text(HEAD + listening + "".join(rows))
    rules = derive(parse(body(443))) if lb is None else lb
    return Flows(rules, Machine(place), PROBES, lambda: tuple(tracked), Refused({}))


@pytest.mark.parametrize(
    ("local", "remote", "state", "counted"),
    [
        ("01BB", f"{CLIENT}:9000", ESTABLISHED, 1),
        ("01BB", f"{CLIENT}:9000", FIN_WAIT_1, 1),
        ("01BB", f"{CLIENT}:9000", FIN_WAIT_2, 0),
        ("01BB", f"{CLIENT}:9000", TIME_WAIT, 0),
        ("01BB", f"{PROBE}:9000", ESTABLISHED, 0),
        ("0016", f"{CLIENT}:9000", ESTABLISHED, 0),
    ],
)
def test_which_sockets_count(
    tmp_path: Path, local: str, remote: str, state: str, counted: int
) -> None:
    """Those of listeners that a rule leads to, until there is nothing more to send; no probes."""
    assert flows(tmp_path, row(f"{HERE}:{local}", remote, state)).look().connections == counted


def test_what_is_translated_counts_once(tmp_path: Path) -> None:
    """A connection of a container by where it came to, and a socket that is tracked, too."""
    client, here = ipaddress.ip_address("198.198.113.7"), ipaddress.ip_address("10.0.0.4")
    same = Tracked(client, 36864, here, 443)
    other, elsewhere = same._replace(source_port=1), same._replace(port=80)
    sockets = row(f"{HERE}:01BB", f"{CLIENT}:9000", ESTABLISHED)
    found = flows(tmp_path, sockets, tracked=[same, other, elsewhere])
    assert found.look().connections == 2


def test_with_ha_ports_each_port_counts(tmp_path: Path) -> None:
    """Where something listens: what this machine opened itself does not."""
    lb = Facts(ha_ports=(ipaddress.ip_address("10.0.0.4"),))
    own, served = (row(f"{HERE}:{port}", f"{CLIENT}:9000", "01") for port in ("C000", "01BB"))
    assert flows(tmp_path, own, served, lb=lb).look().connections == 1


def waited(place: Path, looks: Sequence[Mapping[int, int] | None], limit: float) -> float:
    """How long is waited with nobody connected, and such refusals at each look."""
    time = [100.0]

    def sleep(seconds: float) -> None:
        time[0] += seconds

    one = flows(place)
    one.firewall = Refused(*looks)
    one.wait(limit, lambda: time[0], sleep, lambda _, __: None)
    return time[0] - 100.0


@pytest.mark.parametrize(
    ("looks", "limit", "seconds"),
    [
        ([{}, {}, {443: 1}, {443: 1}, {443: 2}], 60.0, 4.0),
        ([{443: 2, 80: 1}, {443: 3, 80: 2}], 60.0, 1.0),
        ([{}], 60.0, 31.0),
        ([{}], 10.0, 10.0),
        ([{443: 1}], 60.0, 60.0),
        ([None], 60.0, 31.0),
        ([{}], 0.0, 0.0),
    ],
)
def test_azure_must_know(
    tmp_path: Path, looks: Sequence[Mapping[int, int] | None], limit: float, seconds: float
) -> None:
    """Without a connection it is over when each port's probe has failed twice, or none has come in
    the time of two; the limit is one in any case."""
    assert waited(tmp_path, looks, limit) == seconds


def test_a_connection_is_waited_for() -> None:
    """However many probes have failed."""
    assert not Left(connections=1, refused={443: 9}).over(1e6)
    assert Left(connections=0, refused={443: 2}).over(0.0)
