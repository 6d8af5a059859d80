"""Which way the kernel gets a table: by what differs, as a whole with counts, or as a file."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lbhook.config.shipped import SHIPPED
from lbhook.config.targets import Target
from lbhook.firewall.kernel import Firewall, FirewallError
from lbhook.firewall.verdict import Counter, TalliedRule, Tally
from lbhook.memory.records import Loaded
from lbhook.plan import Change, FileState, Outcome
from lbhook.processes import Result
from lbhook.programs.host import Host
from lbhook.tables.loading import TableLoader

PATH = "/etc/nftables.d/lbhook.nft"
FILE = 'table inet lbhook {\n\tchain input {\n\t\tcounter comment "one"\n\t}\n}\n'
MORE = FILE.replace("\t}\n", "\t\tdrop\n\t}\n", 1)
STRANGE = FILE.replace("table", 'include "more"\ntable', 1)
LISTED = "listed"


class Kernel(Firewall):
    """A table with one rule, which has counted."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def rules(self, table: str = "lbhook") -> Mapping[str, tuple[TalliedRule, ...]]:
        """As the kernel lists them."""
        if self.fails:
            raise FirewallError
        counter = Counter(packets=5, bytes=50)
        return {"input": (TalliedRule(handle=2, comment="one", counter=counter),)}

    def tally(self, table: str = "lbhook") -> Tally:
        """The same, and no set."""
        return Tally(rules=self.rules(), elements={})


class Commands:
    """Runs nothing: says what it was told, and refuses what has one of these words."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.told: list[str] = []

    def run(self, argv: Sequence[str], timeout: float = 30.0, stdin: bytes = b"") -> Result:
        """What came by standard input."""
        self.told.append(stdin.decode())
        bad = any(word in self.told[-1] for word in self.refused)
        return Result(argv=tuple(argv), status=int(bad))

    def command(self, target: Target, words: Sequence[str], places: object) -> Result:
        """A listing, or a whole file."""
        if words == target.observe:
            return Result(argv=tuple(words), status=0, output=LISTED)
        self.told.append("the file")
        return Result(argv=tuple(words), status=int("the file" in self.refused))


def digest_of_listing() -> str:
    """What is remembered of a listing."""
    return FileState(content=f"0\n{LISTED}".encode(), mode=0).digest


def told(
    old: str, new: str, *refused: str, observed: str | None = None, kernel: Firewall | None = None
) -> tuple[list[str], bool]:
    """What nft was told for a change from one file to another, and whether that went well."""
    commands = Commands(*refused)
    defaults: Any = SHIPPED["nftables"].defaults
    target = Target(
        name="nftables",
        template="",
        path=PurePosixPath(PATH),
        kind="nftables",
        reload=defaults["reload"],
        observe=defaults["observe"],
    )
    actual, expected = (FileState(content=one.encode(), mode=0o644) for one in (old, new))
    loaded = Loaded(digest=actual.digest, observed=observed or digest_of_listing())
    change = Change(target=target, outcome=Outcome.CHANGED, expected=expected, actual=actual)
    tree = SimpleNamespace(outside=lambda path: path)
    host = SimpleNamespace(run=commands.run, command=commands.command, tree=tree, kernel=None)
    loader = TableLoader(cast("Host", host), {PATH: loaded}, kernel or Kernel())
    return commands.told, loader.load(change).ok


DIFFERENCE = "add rule inet lbhook input drop\n"
COUNTED = MORE.replace("counter", "counter packets 5 bytes 50")


def test_only_what_differs_is_told() -> None:
    """One rule more is one line; nothing is nothing."""
    assert told(FILE, MORE) == ([DIFFERENCE], True)
    assert told(FILE, FILE) == ([], True)


@pytest.mark.parametrize(
    ("old", "observed"), [(STRANGE, None), (FILE, "what another table would come to")]
)
def test_a_table_that_is_not_known_is_replaced_with_its_counts(
    old: str, observed: str | None
) -> None:
    """A file that can't be taken apart, and a kernel that has something else."""
    assert told(old, MORE, observed=observed) == ([COUNTED], True)


def test_a_file_that_is_not_understood_is_loaded_by_itself() -> None:
    """Somebody's own, with what only nft knows."""
    assert told(FILE, STRANGE) == (["the file"], True)


def test_what_is_refused_is_done_as_a_whole() -> None:
    """In the same run: with the counts, then the plain file; what that comes to counts."""
    assert told(FILE, MORE, "add rule") == ([DIFFERENCE, COUNTED], True)
    everything = [DIFFERENCE, COUNTED, "the file"]
    assert told(FILE, MORE, "add rule", "packets") == (everything, True)
    assert told(FILE, MORE, "add rule", "packets", "the file") == (everything, False)


def test_a_kernel_that_can_t_be_asked_gets_the_file() -> None:
    """No netlink, and no counts."""
    assert told(FILE, MORE, kernel=Kernel(fails=True)) == (["the file"], True)
