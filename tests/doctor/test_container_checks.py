"""The doctor's check of containers, where no engine runs: who has a port, and what nft lists."""

from __future__ import annotations

import pytest

from lbhook.doctor import container_checks

from ..programs.test_nftables import machine
from ..stand import Runner, Stand, altered
from .evidence import case

NAT = "table ip nat {\n\tchain DOCKER {\n\t\ttcp dport 8080 counter dnat to 172.17.0.2:80\n\t}\n}\n"
# As an nft that can't translate rules of iptables lists them.
FOREIGN = "table ip nat {\n\tchain DOCKER {\n\t\ttcp dport 8080 # xt_DNAT\n\t}\n}\n"
NONE = "table inet netavark {\n\tchain NETAVARK-HOSTPORT-DNAT {\n\t}\n}\n"
SOCKETS = ("tcp,0.0.0.0,8090", "tcp,::,8080", "tcp,0.0.0.0,8080", "udp,0.0.0.0,53")
PORTS = "tcp 8080, tcp 8090, udp 53"
GONE = {
    "docker-proxy": f"containers have no way out: {PORTS} > if",
    "conmon": f"because its rules are gone: {PORTS} > `sudo podman network reload --all`",
    "nginx": "",
}


def found(
    stand: Stand, program: str, listed: str = NONE, *, legacy: str = "", ok: bool = True
) -> str:
    """What is said where a program has some sockets."""
    stand.runner = Runner(lambda _: (0 if ok else 1, listed))
    one = case(stand)
    place = stand.place / "machine"
    here = machine(place, *SOCKETS)
    (place / "proc/self/net/ip_tables_names").write_text(legacy)
    (place / "proc/50/fd").mkdir(parents=True)
    (place / "proc/50/comm").write_text(f"{program}\n")
    (place / "proc/50/fd/3").symlink_to("socket:[1]")
    tree = altered(one.host.tree, privileged=True)
    evidence = type(one)(
        host=altered(one.host, tree=tree, machine=here, find=lambda _: True), settings=one.settings
    )
    return "".join(f"{it.text} > {it.remedy}" for it in container_checks.published(evidence))


@pytest.mark.parametrize("program", GONE)
def test_rules_that_are_gone(stand: Stand, program: str) -> None:
    """Of each engine by what holds its ports; of other programs nothing is said. What sets hold,
    which may be hundreds of thousands of networks, is not listed."""
    said = found(stand, program)
    assert set(stand.runner.taken()) == {"nft --stateless --terse list ruleset"}
    assert GONE[program] in said
    assert bool(said) == bool(GONE[program])


@pytest.mark.parametrize("program", GONE)
@pytest.mark.parametrize("listed", [NAT, FOREIGN])
def test_rules_that_are_there(stand: Stand, program: str, listed: str) -> None:
    """Any rule that translates a destination is enough, however nft lists it."""
    assert found(stand, program, listed) == ""


def test_rules_that_are_not_seen(stand: Stand) -> None:
    """Where iptables-legacy translates, nft lists nothing of it."""
    assert found(stand, "docker-proxy", legacy="nat\n") == ""


def test_rules_that_can_t_be_listed(stand: Stand) -> None:
    """What nft can't list is not called gone."""
    assert found(stand, "conmon", ok=False) == ""
