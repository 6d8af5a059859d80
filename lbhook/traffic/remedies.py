"""What to do where a chain of the kernel drops what is to be let in."""

import re
from collections.abc import Iterable

from ..config.targets import Target
from ..firewall.verdict import ROUTING, Verdict
from ..processes import Run
from ..system import nft_chains
from .paths import RESTRICT

_IPTABLES = 'accept it there, or set policy = "mark" and accept the mark there'
_REMEDY = "turn on IP forwarding: the packet goes to another address"
_SOURCES = "add who is to reach it to its `sources`"
_PROGRAMS = {"ip filter": "iptables", "ip6 filter": "ip6tables"}
_UFW = {
    "ip filter": ("ufw-before-input", "/etc/ufw/before.rules"),
    "ip6 filter": ("ufw6-before-input", "/etc/ufw/before6.rules"),
}
_OPENINGS = {
    "inet lbhook": "`sudo lbhook apply` loads lbhook's table again",
    "inet firewalld": "turn on the target firewalld",
    **dict.fromkeys(("ip filter", "ip6 filter"), _IPTABLES),
}
_ANYWHERE = (
    "accept it there too: an accept in lbhook's table does not override a drop in another table"
)

# The priority at which lbhook's chain `input` marks.
_MARKS = -10
_BEFORE = ("ingress", "prerouting")
_EARLY = (
    "it runs before lbhook's chain marks anything: accept it there, or drop in a chain of the hook"
    " input with a priority above -10"
)

_LETS_IN = re.compile(
    r"(?m)^\s*meta mark (?:and|&) (0x\w+) == (0x\w+) (?:counter packets \d+ bytes \d+ )?accept"
)
_ANEW = (
    "it lets in what lbhook marks, and the packet has lost its mark by then: `nft list ruleset`"
    " shows which rule sets the mark anew; let that keep lbhook's bit"
)


class Advice:
    """What to do where a chain drops what Azure sends, on a machine with these targets."""

    def __init__(self, run: Run, targets: Iterable[Target]) -> None:
        self._run = run
        self._mark, self._mask = _mark(targets)

    def opening(self, verdict: Verdict, to: str = "") -> str:
        """How to let in what is dropped so; `to` is where it is redirected to by then."""
        chain = verdict.chain
        table, _, name = chain.rpartition(" ")
        if to and table == "inet lbhook":
            return (
                f"let in {to}, where it is redirected to, by an `allow` in the `vars` of nftables,"
                ' or set policy = "prerouting" there, which judges before'
            )
        if chain == ROUTING:
            return _REMEDY
        if chain == RESTRICT:
            return _SOURCES
        if self._mark and table not in ("inet lbhook", "inet firewalld"):
            if self._is_early(table, name):
                return _EARLY
            if self._lets_in_marked(verdict):
                return _ANEW
            return f"let in what lbhook marks: {self._marked(table, name)}"
        return _OPENINGS.get(table, _ANYWHERE)

    def _is_early(self, table: str, name: str) -> bool:
        """Whether a chain is run before the one that marks."""
        listed = nft_chains.chain(self._run, f"{table} {name}", "--numeric-priority")
        found = re.search(r" hook (\w+) .*priority (-?\d+);", listed)
        early = found and (found[1] in _BEFORE or (found[1] == "input" and int(found[2]) <= _MARKS))
        return bool(early)

    def _lets_in_marked(self, verdict: Verdict) -> bool:
        """Whether its chain has the rule already that lets in all that is marked, before the one
        that drops."""
        listed = nft_chains.chain(self._run, verdict.chain, "--handle")
        found = _LETS_IN.findall(listed.partition(f" # {verdict.rule}\n")[0])
        return (self._mask, self._mark) in [(int(mask, 16), int(mark, 16)) for mask, mark in found]

    def _marked(self, table: str, name: str) -> str:
        if table not in _PROGRAMS:
            match = f"'meta mark & {self._mask:#x} == {self._mark:#x} accept'"
            return f"`nft insert rule {table} {name} {match}`"
        match = f"-m mark --mark {self._mark:#x}/{self._mask:#x} -j ACCEPT"
        before, file = _UFW[table]
        if nft_chains.chain(self._run, f"{table} {before}"):
            return (
                f"`-A {before} {match}` below `# End required lines` in {file}, then `ufw reload`"
            )
        return f"`{_PROGRAMS[table]} -I {name} {match}`"


def _mark(targets: Iterable[Target]) -> tuple[int, int]:
    """The mark of lbhook's firewall and its mask; no bits where it marks nothing."""
    for target in targets:
        if target.kind == "nftables" and target.vars["policy"] == "mark":
            return target.vars["mark"], target.vars["mark_mask"]
    return 0, 0
