"""What many rules cost: rendering, checking, loading, reloading, memory and new connections.

Loading and packets are those of a laboratory: the real nft in a network namespace of its own, a
client that connects to a real nginx behind it. Beside the sets that lbhook writes stand one rule
for each entry, and iptables-restore.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from lbhook.config import settings as config
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts
from lbhook.rendering.render import renderer
from tests.lab.fabric import VM4
from tests.lab.hosts import PATH, wait_for
from tests.lab.lab import Lab, laboratory

from .measure import Once, Result, Row, measure, mebibytes

SIZES = (10, 300, 2400, 10_000)
MOST = 2400  # rules of one VM: 300 for each of 8 NICs, by Azure's limits
PAIRS = 9
# How each is loaded, and how many times as long a connection may take; those beside it any time.
KINDS = {
    "set": ("nft -f", 1.11),
    "each": ("nft -f", 10.0),
    "iptables": ("iptables-nft-restore --noflush", 10.0),
}
# How a piece of each begins and ends: in a user namespace a message to the kernel is short.
AROUND = {
    "each": ("table inet lbhook {\nchain input {\n", "}\n}\n"),
    "iptables": ("*filter\n", "COMMIT\n"),
}
# A rule that asks for the state of a connection is what turns tracking on.
_TRACKING = (
    "table inet track { chain input { type filter hook input priority 0; ct state established; }; }"
)
PIECE = 300
SECONDS = 0.5
_MORE_PORTS = "cd /proc/sys/net/ipv4; echo 1 >tcp_tw_reuse; echo 1024 65535 >ip_local_port_range"
FIREWALL = next(one for one in config.parse("").targets if one.name == "nftables")
_IMPORT = (
    "import time; begin = time.perf_counter(); import jinja2; print(time.perf_counter() - begin)"
)
_LINE = "{:<28}" + "{:>10}" * len(SIZES)


def body(rules: int) -> bytes:
    """A body with so many rules, over as many addresses as it takes."""
    entries = [
        {
            "frontendIpAddress": "50.0.0.1",
            "protocol": "Tcp",
            "frontendPort": 1 + number,
            "backendPort": 10_001 + number % 2400,
            "privateIpAddress": str(ip_address(VM4) + number // 2400),
        }
        for number in range(rules)
    ]
    lists = {"publicIpAddresses": [], "inboundRules": entries, "outboundRules": []}
    return json.dumps({"loadbalancer": lists}).encode()


def render(lb: Facts) -> bytes:
    """The firewall of it."""
    return renderer([]).render(FIREWALL, lb)


def one_each(lb: Facts) -> bytes:
    """The same as a rule for each listener."""
    lines = [
        f"ip daddr {one.ip} {one.protocol} dport {one.port} counter accept" for one in lb.listeners
    ]
    head = "table inet lbhook\ndelete table inet lbhook\ntable inet lbhook {\nchain input {\n"
    hook = (
        "type filter hook input priority filter + 10; policy drop;\nct state established accept\n"
    )
    return f"{head}{hook}{chr(10).join(lines)}\n}}\n}}\n".encode()


def iptables(lb: Facts) -> bytes:
    """The same for iptables-restore."""
    lines = [
        f"-A INPUT -d {one.ip} -p {one.protocol} --dport {one.port} -j ACCEPT"
        for one in lb.listeners
    ]
    first = "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"
    return "\n".join(["*filter", ":INPUT DROP", first, *lines, "COMMIT", ""]).encode()


def pieces(kind: str, text: str) -> Iterator[str]:
    """A file as several that are loaded one after the other, where it is a rule for each."""
    if kind not in AROUND:
        yield text
        return
    lines = text.splitlines(keepends=True)
    rules = [at for at, line in enumerate(lines) if "dport" in line]
    before, after = AROUND[kind]
    yield "".join([*lines[: rules[0]], *lines[rules[-1] + 1 :]])
    for at in range(rules[0], rules[-1] + 1, PIECE):
        yield "".join([before, *lines[at : min(at + PIECE, rules[-1] + 1)], after])


def timed(work: Callable[[], object]) -> Once:
    """Milliseconds that a piece of work takes."""

    def once() -> float:
        begin = time.perf_counter()
        work()
        return (time.perf_counter() - begin) * 1000

    return once


def results() -> Iterator[Result]:
    """The rows of this page, the table of sizes printed on the way."""
    with laboratory() as lab, tempfile.TemporaryDirectory(prefix="lbhook-sizes-") as place:
        bench = Sizes(lab, Path(place))
        bench.table()
        yield bench.load()
        yield bench.render()
        yield from bench.connections()


class Sizes:
    """A laboratory with files of every size in it."""

    def __init__(self, lab: Lab, place: Path) -> None:
        self.lab, self.place = lab, place
        self.facts = {rules: facts.derive(parse(body(rules))) for rules in SIZES}
        self.bodies = {rules: self._written(f"{rules}.json", body(rules)) for rules in SIZES}
        kinds = {"set": render, "each": one_each, "iptables": iptables}
        self.files = {
            (kind, rules): self._written(f"{kind}-{rules}", make(self.facts[rules]))
            for kind, make in kinds.items()
            for rules in SIZES
        }

    def _written(self, name: str, content: bytes) -> str:
        file = self.place / name
        file.write_bytes(content)
        return str(file)

    def table(self) -> None:
        """Milliseconds and MiB, by size: medians of five."""
        print(_LINE.format("milliseconds, median of 5", *(f"{rules:,}" for rules in SIZES)))
        rows: dict[str, Callable[[int], Once]] = {
            "render": lambda rules: timed(lambda: render(self.facts[rules])),
            "nft -c": lambda rules: self._nft("first", "set", rules, "-c"),
            "nft -f": lambda rules: self._nft("first", "set", rules),
            "nft -f, again": lambda rules: self._nft("again", "set", rules),
            "nft -f, a rule each": lambda rules: self._nft("first", "each", rules),
            "iptables-restore": lambda rules: within(
                "first", "iptables-restore", self.files["iptables", rules]
            ),
            "lbhook render, peak MiB": lambda rules: mebibytes(_rendering(self.bodies[rules])),
        }
        for name, row in rows.items():
            figures = (statistics.median(row(rules)() for _ in range(5)) for rules in SIZES)
            print(_LINE.format(name, *(f"{figure:.1f}" for figure in figures)), flush=True)

    def load(self) -> Result:
        """2,400 rules against 10."""
        many, few = (self._nft("again", "set", rules) for rules in (MOST, 10))
        row = Row(
            what="nft -f, 2,400 rules", yardstick="10 rules", measured=many, against=few, reach=3
        )
        return measure(row)

    def render(self) -> Result:
        """2,400 rules against the import of jinja2."""
        many = timed(lambda: render(self.facts[MOST]))
        return measure(
            Row(
                what="render nftables, 2,400 rules",
                yardstick="import jinja2",
                measured=many,
                against=_import_jinja2,
                reach=1,
            )
        )

    def connections(self) -> Iterator[Result]:
        """Without a firewall, and with 2,400 rules of which the last is asked for: the figure is
        how many times as long a connection takes. Of lbhook's, also against the kernel's tracking
        of connections alone, which no firewall that knows them can do without."""
        port = self.facts[MOST].listeners[-1].port
        self.lab.vm.write("/etc/nginx/lbhook/listen.conf", f"listen {VM4}:{port};\n")
        self.lab.vm.run(["nginx", "-s", "reload"])
        wait_for(lambda: self.lab.vm.listens("tcp", port), f"nginx at {port}")
        # A closed connection keeps its port for a minute, and there are fewer than that takes.
        self.lab.client.run(["sh", "-euc", _MORE_PORTS])
        for kind, (command, reach) in KINDS.items():
            files: list[str] = []
            for piece in pieces(kind, Path(self.files[kind, MOST]).read_text()):
                files.append(f"/run/{kind}-{len(files)}")
                self.lab.vm.write(files[-1], piece)
            load = "; ".join(f"{command} {file}" for file in files)
            row = Row(
                what=f"a new connection, 2,400, {kind}",
                yardstick="no firewall",
                measured=self._with(load, port),
                against=self._with("true", port),
                reach=reach,
                pairs=PAIRS,
            )
            yield measure(row)
            if kind == "set":
                tracked = self._with(f"nft '{_TRACKING}'", port)
                yield measure(replace(row, yardstick="connection tracking", against=tracked))

    def _with(self, command: str, port: int) -> Once:
        """Milliseconds of a connection after a command of a shell, on an open machine."""

        def once() -> float:
            self.lab.vm.run(["sh", "-euc", f"nft flush ruleset; {command}"])
            return 1000 / self._per_second(port)

        return once

    def _per_second(self, port: int) -> float:
        argv = [*_script("connect.py"), VM4, str(port), str(SECONDS)]
        return float(self.lab.client.run(argv).stdout)

    def _nft(self, figure: str, kind: str, rules: int, *words: str) -> Once:
        return within(figure, "nft", *words, "-f", self.files[kind, rules])


def within(figure: str, *argv: str) -> Once:
    """A figure of a command in a network namespace of its own, without the way there."""
    # In a user namespace no message to the kernel may be as long as 10,000 rules are.
    alone = () if os.geteuid() == 0 else ("--map-root-user",)
    words = ("unshare", *alone, "--net", *_script("within.py"), figure, *argv)

    def once() -> float:
        done = subprocess.run(words, env={"PATH": PATH}, capture_output=True, text=True, check=True)
        return float(done.stdout)

    return once


def _rendering(body: str) -> str:
    words = ["lbhook", "render", "nftables", "--metadata", body]
    return f"import sys; sys.argv = {words}; from lbhook.program import main; main()"


def _script(name: str) -> tuple[str, ...]:
    """A script of this directory: alone, so that it starts fast."""
    return (sys.executable, "-I", "-S", str(Path(__file__).with_name(name)))


def _import_jinja2() -> float:
    done = subprocess.run(
        (sys.executable, "-c", _IMPORT), capture_output=True, text=True, check=True
    )
    return float(done.stdout) * 1000
