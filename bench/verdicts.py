"""What `show` and `doctor` cost beside other people's rules, in a network namespace of their own.

Root only: in a user namespace messages to the kernel are short, and thousands of rules take many.
Times are the processor's, not the clock's: one thing is done after the other, and who else works
here changes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from .measure import CHECKOUT, Once, Result, Row, environment, measure, mebibytes, program
from .scene import TARGETS, THREE, Bench

_ADDRESS, _SERVICES, _LINEAR, _NETWORKS = "10.1.0.4", 5000, 3000, 400_000
_PAIRS = 5
_LINKS = f"""
ip link add eth0 type veth peer name peer0
ip link set peer0 up
ip link set eth0 up
ip addr add {_ADDRESS}/24 dev eth0
ip route add default via 10.1.0.1
echo up
exec cat
"""
_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
_PARSED = (
    "import json, subprocess; json.loads(subprocess.run("
    '["nft", "--json", "--terse", "list", "ruleset"], capture_output=True, check=True).stdout)'
)


def results(bench: Bench) -> Iterator[Result]:
    """All rows of this page; none without root."""
    if os.geteuid() != 0:
        return
    config = bench.place / "verdicts.toml"
    config.write_text(TARGETS, encoding="utf-8")
    with _Machine(config) as empty:
        with _Machine(config) as large:
            large.load("nft", networks())
            yield from _large(empty, large, bench.body(10))
        yield _linear(config, bench)
        for kind, tool, rules in (
            ("nftables", "nft", kube_nftables()),
            ("iptables", "iptables-nft-restore", kube_iptables()),
        ):
            with _Machine(config) as node:
                node.load(tool, rules)
                yield from _services(kind, node, bench.body(10))


def _large(empty: _Machine, large: _Machine, body: Path) -> Iterator[Result]:
    for command in ("show", "doctor"):
        listed, alone = (
            large.timed("nft", "--terse", "list", "ruleset"),
            empty.lbhook(command, body),
        )
        row = Row(
            what=f"{command} beside 400,000 networks",
            yardstick=f"nft --terse, {command}",
            measured=large.lbhook(command, body),
            against=_together(listed, alone),
            reach=1.5,
        )
        yield measure(dataclasses.replace(row, pairs=_PAIRS))
        row = Row(
            what=f"{command}, peak memory, the same",
            yardstick="three imports",
            measured=large.peak(command, body),
            against=mebibytes(THREE),
            reach=3,
        )
        yield measure(dataclasses.replace(row, unit="MiB", pairs=3))


def _linear(config: Path, bench: Bench) -> Result:
    with _Machine(config) as many, _Machine(config) as few:
        many.load("nft", linear(_LINEAR))
        few.load("nft", linear(10))
        row = Row(
            what="doctor, 292 rules, 3,000 of the kernel",
            yardstick="10 of each",
            measured=many.lbhook("doctor", bench.body(292)),
            against=few.lbhook("doctor", bench.body(10)),
            reach=2,
        )
        return measure(dataclasses.replace(row, pairs=_PAIRS))


def _services(kind: str, node: _Machine, body: Path) -> Iterator[Result]:
    for command in ("show", "doctor"):
        row = Row(
            what=f"{command}, kube-proxy ({kind}), 5,000",
            yardstick="nft --json, parsed",
            measured=node.lbhook(command, body),
            against=node.timed(sys.executable, "-c", _PARSED),
            reach=2,
        )
        yield measure(dataclasses.replace(row, pairs=3))


class _Machine:
    """A network namespace with one interface."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Machine:
        self._process = subprocess.Popen(
            ["unshare", "--net", "sh", "-euc", _LINKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.enter_context(self._process)
        assert self._process.stdout
        assert self._process.stdout.readline() == "up\n"
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._stack.close()

    def load(self, tool: str, rules: str) -> None:
        """Load rules."""
        words = (tool, "-f", "-") if tool == "nft" else (tool,)
        subprocess.run(self._inside(*words), input=rules, text=True, check=True)

    def lbhook(self, command: str, body: Path) -> Once:
        """Processor time of a command of lbhook's, whatever it finds."""
        return self.timed(*self._words(command, body), status=(0, 1))

    def peak(self, command: str, body: Path) -> Once:
        """The most memory that it, or a process of its own, takes."""
        argv = self._inside(sys.executable, "-c", _PEAK, *self._words(command, body))

        def once() -> float:
            done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True)
            return int(done.stdout) / 1024

        return once

    def timed(self, *words: str, status: tuple[int, ...] = (0,)) -> Once:
        """Milliseconds of the processor that a program takes, with all that it starts."""
        argv = self._inside(*words)

        def once() -> float:
            begin = _processor()
            done = subprocess.run(
                argv, cwd=CHECKOUT, env=environment(), capture_output=True, check=False
            )
            took = (_processor() - begin) * 1000
            if done.returncode not in status:
                sys.exit(done.stderr.decode())
            return took

        return once

    def _words(self, command: str, body: Path) -> tuple[str, ...]:
        return program(command, "-c", self._config, "--metadata", body)

    def _inside(self, *words: str) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{self._process.pid}/ns/net", "--", *words)


def _processor() -> float:
    """Seconds that all have taken that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _together(*parts: Callable[[], float]) -> Once:
    return lambda: sum(part() for part in parts)


def networks() -> str:
    """A set of 400,000 networks of somebody's, which are dropped."""
    found = ",\n".join(
        f"{1 + number // 65536 % 200}.{number // 256 % 256}.{number % 256}.0/25"
        for number in range(_NETWORKS)
    )
    return (
        "table ip crowdsec {\nset bl { type ipv4_addr; flags interval; elements = {"
        f"{found} }} }}\nchain input {{ type filter hook input priority -10;"
        " ip saddr @bl drop; }\n}"
    )


def linear(count: int) -> str:
    """So many rules, none of which is about what is asked."""
    rules = "\n".join(
        f"ip saddr 192.0.{number // 250}.{number % 250} tcp dport {1 + number} drop"
        for number in range(count)
    )
    return f"table inet own {{ chain in {{ type filter hook input priority 0;\n{rules}\n}}\n}}\n"


def kube_nftables() -> str:
    """As kube-proxy has services in its mode nftables: a map, a chain for each service, and one
    for each of its two endpoints."""
    chains, elements = [], []
    for number in range(_SERVICES):
        ip = f"10.96.{number // 250}.{number % 250}"
        ends = [f"10.244.{number // 250}.{number % 250}", f"10.245.{number // 250}.{number % 250}"]
        elements.append(f"{ip} . tcp . 80 : goto service-{number}")
        for at, end in enumerate(ends):
            chains.append(
                f"chain endpoint-{number}-{at} {{ ip saddr {end} jump masq;"
                f" meta l4proto tcp dnat to {end}:8080;\n}}"
            )
        chains.append(
            f"chain service-{number} {{ ip daddr {ip} tcp dport 80 ip saddr != 10.244.0.0/15"
            f" jump masq; numgen random mod 2 vmap {{ 0 : goto endpoint-{number}-0,"
            f" 1 : goto endpoint-{number}-1 }}; }}"
        )
    listed = ",\n".join(elements)
    return (
        "table ip kube-proxy {\nchain masq { meta mark set meta mark or 0x4000; }\n"
        + "\n".join(chains)
        + "\nmap service-ips { type ipv4_addr . inet_proto . inet_service : verdict; elements = {"
        + listed
        + "} }\nchain nat-prerouting { type nat hook prerouting priority dstnat;"
        " ip daddr . meta l4proto . th dport vmap @service-ips; }\n}\n"
    )


def kube_iptables() -> str:
    """The same in its mode iptables: a rule for each service, one after the other."""
    lines = ["*nat", ":KUBE-SERVICES - [0:0]", ":KUBE-MARK-MASQ - [0:0]"]
    rules = ["-A PREROUTING -j KUBE-SERVICES", "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000"]
    for number in range(_SERVICES):
        place = f"{number // 250}.{number % 250}"
        lines += [f":KUBE-SVC-{number} - [0:0]", f":KUBE-SEP-{number} - [0:0]"]
        rules += [
            f"-A KUBE-SERVICES -d 10.96.{place}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-{number}",
            f"-A KUBE-SVC-{number} ! -s 10.244.0.0/16 -d 10.96.{place}/32 -p tcp -m tcp --dport 80"
            " -j KUBE-MARK-MASQ",
            f"-A KUBE-SVC-{number} -m statistic --mode random --probability 0.5"
            f" -j KUBE-SEP-{number}",
            f"-A KUBE-SEP-{number} -p tcp -m tcp -j DNAT --to-destination 10.244.{place}:8080",
        ]
    return "\n".join([*lines, *rules, "COMMIT", ""])
