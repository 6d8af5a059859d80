"""The Azure fabric around a VM: routes, the load balancer, probes and the metadata service."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from .hosts import REPO, Host, Popen

Body = dict[str, Any]

CLIENT4, CLIENT6 = "198.51.100.7", "2001:db8:7::7"
VM4, VM6 = "10.1.0.4", "ace:cab:deca:deed::1"
PROBE4, PROBE6 = "168.63.129.16", "fe80::1234:5678:9abc"
IMDS = "169.254.169.254"
BODY = "/run/body.json"

FORWARD = "cd /proc/sys/net; echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding"

# Where the fabric has no route, Azure says nothing: a blackhole sends no ICMP.
FABRIC_LINKS = f"""
link set client0 up
link set vm0 up
addr add 198.51.100.1/24 dev client0
addr add 2001:db8:7::1/64 dev client0 nodad
addr add 10.1.0.1/24 dev vm0
addr add {PROBE6}/64 dev vm0 nodad
addr add {IMDS}/32 dev lo
addr add {PROBE4}/32 dev lo
route add ace:cab:deca:deed::/64 dev vm0
route add blackhole 0.0.0.0/0
route add blackhole ::/0
"""

# The chain in between does nothing but keep connection tracking in use: without any rule that
# needs it the kernel turns it off, and connections that are translated end.
TRANSLATION = """
table inet azure
delete table inet azure
table inet azure {{
    chain inward {{
        type nat hook prerouting priority dstnat
        {inward}
    }}
    chain forward {{
        type filter hook forward priority filter
        ct state established accept
    }}
    chain outward {{
        type nat hook postrouting priority srcnat
        {outward}
    }}
}}
"""


def rule(
    frontend: str, port: int, private: str, backend: int, protocol: str = "Tcp"
) -> dict[str, Any]:
    """Return an inbound rule as the metadata service writes it."""
    return {
        "frontendIpAddress": frontend,
        "protocol": protocol,
        "frontendPort": port,
        "backendPort": backend,
        "privateIpAddress": private,
    }


def body(
    *rules: dict[str, Any],
    public: Sequence[tuple[str, str]] = (),
    outbound: Sequence[tuple[str, str]] = (),
) -> Body:
    """Return a whole answer; `public` and `outbound` are pairs of frontend and private address."""
    return {
        "loadbalancer": {
            "publicIpAddresses": [_pair(*it) for it in public],
            "inboundRules": list(rules),
            "outboundRules": [_pair(*it) for it in outbound],
        }
    }


def _pair(frontend: str, private: str) -> dict[str, str]:
    return {"frontendIpAddress": frontend, "privateIpAddress": private}


class Fabric(Host):
    """Azure: routes, translates addresses as its load balancer does, and serves metadata."""

    def __init__(self, inside: Host) -> None:
        super().__init__("fabric", inside)
        self._routed: set[str] = set()
        self._emulator: Popen | None = None
        self.answer(body())

    def connect(self, client: Host, vm: Host) -> None:
        """Lay the cables, and forward between them."""
        self.cable("client0", client, "eth0")
        self.cable("vm0", vm, "eth0")
        self.run(["sh", "-euc", FORWARD])
        self.links(FABRIC_LINKS)

    def load_balance(self, body: Body) -> None:
        """Send packets by the rules of `body`; connections that stand keep their way."""
        found = body["loadbalancer"]
        self.run(["nft", "-f", "-"], stdin=_translation(found))
        floating = {it["frontendIpAddress"] for it in found["inboundRules"] if _floats(it)}
        routes = [f"route del {ip}" for ip in self._routed - floating]
        routes += [f"route replace {ip} via {_gateway(ip)}" for ip in floating]
        self.links("\n".join(routes))
        self._routed = floating

    @staticmethod
    def translation(body: Body) -> str:
        """What nft is told for the rules of `body`."""
        return _translation(body["loadbalancer"])

    @classmethod
    def nothing(cls) -> str:
        """What nft is told while no backend is up: only connections that stand go on."""
        return cls.translation(globals()["body"]())

    def answer(self, body: Body) -> None:
        """Let the metadata service say `body` from now on."""
        self.write(BODY, json.dumps(body))

    def serve_metadata(self, said: str = BODY, playbook: str = "") -> None:
        """Start the emulator at Azure's address; `said` is a file or an answer it knows by name,
        `playbook` what goes wrong before."""
        if self._emulator:
            self._emulator.kill()
            self._emulator.wait()
        argv = [sys.executable, "-m", "lbhook", "emulate", "-q", "--listen", f"{IMDS}:80"]
        argv += ["--playbook", playbook] if playbook else []
        self._emulator = self.spawn([*argv, "--body", said], env={"PYTHONPATH": str(REPO)})

    def serves_metadata(self) -> bool:
        """Say whether the emulator is ready."""
        return self.listens("tcp", 80)


def _floats(rule: dict[str, Any]) -> bool:
    return bool(rule["frontendIpAddress"] == rule["privateIpAddress"])


def _gateway(ip: str) -> str:
    return VM4 if _family(ip) == "ip" else VM6


def _family(ip: str) -> str:
    return "ip" if ip_address(ip).version == 4 else "ip6"


def _inward(pair: dict[str, Any], match: str = "", port: str = "") -> str:
    old, new = pair["frontendIpAddress"], pair["privateIpAddress"]
    family = _family(old)
    target = f"[{new}]{port}" if port and family == "ip6" else f"{new}{port}"
    return f"{family} daddr {old} {match} dnat {family} to {target}"


def _to_port(rule: dict[str, Any]) -> str:
    match = f"{rule['protocol'].lower()} dport {rule['frontendPort']}"
    return _inward(rule, match, f":{rule['backendPort']}")


def _outward(pair: dict[str, Any]) -> str:
    old, new = pair["privateIpAddress"], pair["frontendIpAddress"]
    return f'oifname "client0" {_family(old)} saddr {old} snat {_family(old)} to {new}'


def _translation(found: dict[str, Any]) -> str:
    rules = [rule for rule in found["inboundRules"] if not _floats(rule)]
    own, out = found["publicIpAddresses"], found["outboundRules"]
    # Whole addresses come last, so that a rule for one port goes before them.
    inward = [_to_port(rule) for rule in rules if rule["frontendPort"]]
    inward += [_inward(pair) for pair in rules + own if not pair.get("frontendPort")]
    return TRANSLATION.format(
        inward="\n".join(inward), outward="\n".join(_outward(pair) for pair in own + out)
    )
