"""Guarded metadata: the Metadata Security Protocol, and its agent on this VM.

Where the VM's model asks for it, IMDS refuses what is not signed. The agent, azure-proxy-agent
(Azure/GuestProxyAgent), takes each connection to IMDS by a connect program of the kernel, signs
and hands on. What it answers itself has no body; what IMDS answered has a header of its own.
Read in its source, proxy_server.rs and provision.rs; not verified on real Azure.
"""

import grp
import os
import pwd
from collections.abc import Mapping
from typing import NamedTuple

from ..processes import NOT_EXECUTABLE, NOT_FOUND, TIMED_OUT, Run

PROGRAM = "azure-proxy-agent"
# Where it listens, on loopback.
PORT = 3080
# What the agent adds to each answer of IMDS that it hands on.
HEADER = "x-ms-azure-host-authorization"
# As long as cloud-init waits for it.
LONGEST = 120.0
# The program looks at its own clock; that it ends a little later is no reason to end it.
_GRACE = 1.0
_UNFINISHED = 1
DENIED = "the access rules of the Metadata Security Protocol do not let in"
# What the agent says by itself, and why (its proxy_server.rs).
_OWN: Mapping[int, str] = {
    403: DENIED,
    405: "it does not allow this HTTP method",
    421: "it does not know this connection",
    500: "it has no access rules yet",
    502: "it did not reach IMDS",
    503: "it got no answer from IMDS",
}
_LOOK = f"`systemctl status {PROGRAM}` shows it"


class _Hints(NamedTuple):
    unsigned: str
    rejected: str
    forgotten: str
    ailing: str
    locked: str


HINT = _Hints(
    unsigned="metadata is guarded (Metadata Security Protocol), and nothing has signed the request:"
    f" {PROGRAM} is not running, is being updated, or its key is not latched yet. {_LOOK},"
    f" `{PROGRAM} --status --wait 120` waits for it; see docs/troubleshooting.md",
    rejected=f"metadata is guarded, and IMDS does not take the key of {PROGRAM}: it is not latched,"
    " or this disk is of another VM. Raise keyIncarnationId in the VM's model; see"
    " docs/troubleshooting.md",
    forgotten=f"{PROGRAM} was restarted, or is very busy: {_LOOK}; lbhook asks again",
    ailing=f"the fault is in {PROGRAM}, not in IMDS: {_LOOK}",
    # systemd 261 and later.
    locked="check `ip route get 169.254.169.254`. If the kernel's command line has"
    " systemd.imds.network=locked, systemd-imdsd has locked IMDS: set it to unlocked. Otherwise"
    " remove your own prohibit route",
)


class Asker(NamedTuple):
    """Who asks, as the agent's access rules name it."""

    user: str
    group: str

    def __str__(self) -> str:
        return f"user {self.user}, group {self.group}"

    @property
    def rule(self) -> str:
        """What to do where the rules deny. Its executable, Python, would let in every script."""
        identity = f'{{"name": "lbhook", "userName": "{self.user}", "groupName": "{self.group}"}}'
        return (
            f"add to the VM's access rules for IMDS the identity {identity} and the privilege"
            ' {"name": "loadbalancer", "path": "/metadata/loadbalancer"}, without exePath, which'
            " is Python and would match every script; the next run asks again"
        )


def asker() -> Asker:
    """This process, by name, or by number where it has none."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = str(gid)
    return Asker(user=user, group=group)


def own_reason(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Why the agent itself said this; empty if it did not."""
    return _OWN.get(status, "") if not body and HEADER not in headers else ""


def guards(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether an answer shows that metadata is guarded on this VM."""
    return HEADER in headers or status in (401, 421) or (status == 403 and not body)


class Agent:
    """The agent on this VM, as its own program tells of it. The program asks the agent alone, on
    loopback, and needs no rights."""

    def __init__(self, run: Run, path: str) -> None:
        self.run = run
        self.path = path

    def wait(self, seconds: float) -> str:
        """Wait until the agent is ready, for so many seconds at most; what it says is wrong,
        empty if it is ready."""
        whole = int(min(seconds, LONGEST) - _GRACE)
        if whole < 1:
            return ""
        result = self.run((self.path, "--status", "--wait", str(whole)), timeout=whole + _GRACE)
        if result.ok or result.status in (NOT_FOUND, NOT_EXECUTABLE):
            return ""
        if result.status in (_UNFINISHED, TIMED_OUT):
            return f"{PROGRAM} is not ready after {whole} s"
        return f"{PROGRAM} says: {' '.join(result.output.split()) or 'nothing'}"
