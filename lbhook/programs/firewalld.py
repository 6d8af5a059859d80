"""What is peculiar to firewalld: how its policies are checked, and what tells that one is in force.

Measured on firewalld 1.3: its checker wants root, reads a whole configuration directory, and
ends with 0 although it leaves out a rule that it does not understand.
"""

import contextlib
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..config.targets import Target
from ..errors import WriteError
from ..listening.haproxy_config import Bind
from ..metadata.reader import Address
from ..processes import Result, Run
from ..storage import scratch
from ..system import nft_chains

_MINIMAL = "DefaultZone=public\n"
_LEFT_OUT = re.compile(r"^WARNING: (?:[A-Z_]+: .*: rule |Invalid rule: )", re.MULTILINE)


class Firewalld:
    """firewalld on this machine; `root` says whether lbhook runs as root."""

    def __init__(
        self, run: Run, root: bool = True, configuration: Path = Path("/etc/firewalld")
    ) -> None:
        self.run = run
        self.root = root
        self.configuration = configuration

    def check(self, target: Target, candidate: Path) -> Result:
        """Whether a policy is good in a configuration that has nothing else."""
        with scratch.directory() as place:
            (place / "firewalld.conf").write_text(_MINIMAL, encoding="ascii")
            result = self._check(place, {str(target.path): candidate}, target.timeout)
        return (
            result._replace(status=1) if result.ok and _LEFT_OUT.search(result.output) else result
        )

    def unread(self, target: Target) -> str:
        """Nothing: every policy in its place is read."""
        return ""

    def check_live(
        self, candidates: Mapping[str, Path], timeout: float
    ) -> tuple[Result, frozenset[str]]:
        """A copy of the whole real configuration with candidates in place of live files."""
        with scratch.directory() as place:
            if self.configuration.is_dir():
                _copied(self.configuration, place)
            return self._check(place, candidates, timeout), frozenset(candidates)

    def check_present(self, timeout: float) -> Result:
        """The real configuration as it stands."""
        return self.run(("firewall-offline-cmd", "--check-config"), timeout=timeout)

    def lacks_only(self, tested: Result, addresses: Collection[Address]) -> bool:
        """Never: it does not bind."""
        return False

    def prepare(self, content: bytes, main_pid: int) -> None:
        """Nothing: it needs nothing but its file."""

    def others(self, own: Collection[str]) -> str:
        """Never mind: a reload that stopped half-way has shut new connections out, and has to
        come to an end."""
        return "firewalld"

    def binds(self, own: Collection[str]) -> Sequence[Bind]:
        """Nowhere: it has no socket of TCP."""
        return ()

    def verify(self, target: Target, content: bytes, main_pid: int) -> str:
        """What shows that a policy is not in force; empty if it is.

        The kernel is asked first: that takes a tenth of the time, and each run does it.
        """
        policy = target.path.stem
        if nft_chains.chain(self.run, f"inet firewalld filter_IN_policy_{policy}_allow"):
            return ""
        told = self.run(("firewall-cmd", f"--info-policy={policy}"), timeout=target.timeout)
        if told.ok and told.output.startswith(f"{policy} (active)"):
            return ""
        return f"firewalld has no active policy {policy}"

    def _check(self, place: Path, candidates: Mapping[str, Path], timeout: float) -> Result:
        """The configuration in `place`, with candidates under their own names."""
        policies = place / "policies"
        policies.mkdir(exist_ok=True)
        for live, candidate in candidates.items():
            shutil.copyfile(candidate, policies / PurePosixPath(live).name)
        # The checker asks for root, and in a user namespace everybody is.
        alone = () if self.root else ("unshare", "--map-root-user")
        command = (*alone, "firewall-offline-cmd")
        argv = (*command, "--system-config", str(place), "--check-config")
        # The place is gone when somebody reads the report.
        return self.run(argv, timeout=timeout)._replace(argv=(*command, "--check-config"))


def _copied(configuration: Path, place: Path) -> None:
    """Copy a configuration; what goes meanwhile is none of it. Raises `WriteError`."""

    def copy(source: str, target: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(source, target)

    try:
        shutil.copytree(configuration, place, copy_function=copy, dirs_exist_ok=True)
    except shutil.Error as error:
        raise WriteError(*(f"{source}: {why}" for source, _, why in error.args[0])) from None
