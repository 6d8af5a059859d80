"""The units as they are shipped: what old versions of systemd refuse is seen here, not there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from lbhook.config.shipped import SHIPPED
from lbhook.paths import Paths

from .program import REPO

UNITS = REPO / "systemd"
APPLYING = ("lbhook.service", "lbhook-refresh.service", "lbhook-restore.service")
AS_ROOT = (*APPLYING, "lbhook-drain.service")
FETCH = "lbhook-fetch.service"
OLDEST = 249
# The directives by the version of systemd that brought them; 0: before 200.
BROUGHT = {
    0: "Description Documentation Wants After Before Conflicts DefaultDependencies WantedBy Type "
    "ConditionDirectoryNotEmpty Nice "
    "ExecStart ExecStartPost ExecReload ExecStopPost RemainAfterExit NotifyAccess User Restart "
    "ExecStop TimeoutStopSec "
    "RestartSec RestartPreventExitStatus TimeoutStartSec CapabilityBoundingSet NoNewPrivileges "
    "PrivateTmp Environment StandardError SystemCallFilter OnBootSec OnUnitInactiveSec PathChanged",
    209: "DevicePolicy PrivateDevices SystemCallArchitectures SystemCallErrorNumber AccuracySec",
    214: "RestrictAddressFamilies RuntimeDirectory ProtectHome ProtectSystem",
    230: "RandomizedDelaySec StartLimitIntervalSec",
    231: "ReadWritePaths MemoryDenyWriteExecute RestrictRealtime",
    232: "PrivateUsers ProtectControlGroups ProtectKernelModules ProtectKernelTunables RemoveIPC",
    233: "RestrictNamespaces",
    235: "IPAddressDeny KeyringMode LockPersonality RuntimeDirectoryPreserve StateDirectory",
    239: "PrivateMounts",
    242: "ProtectHostname RestrictSUIDSGID",
    245: "ProtectKernelLogs ProtectClock",
    247: "LoadCredential SetCredential ProcSubset ProtectProc",
}
SINCE = {name: version for version, names in BROUGHT.items() for name in names.split()}
# What it says of a unit whose programs are not installed here.
_ABSENT = re.compile(r"is not executable|man lbhook")


def lines(unit: str) -> Iterator[tuple[str, str]]:
    """The directives of a unit, in order."""
    text = (UNITS / unit).read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            yield key, value


def values(unit: str, key: str) -> list[str]:
    """What a unit says by one directive, word by word."""
    return [word for name, value in lines(unit) if name == key for word in value.split()]


def every_unit() -> list[str]:
    """All that systemd reads, drop-ins among them."""
    kinds = ("*.service", "*.timer", "*.path", "*.d/*.conf")
    return [
        str(one.relative_to(UNITS)) for kind in kinds for one in UNITS.glob(kind) if one.is_file()
    ]


@pytest.mark.parametrize("unit", every_unit())
def test_no_directive_is_younger_than_the_oldest_systemd(unit: str) -> None:
    """Ubuntu 22.04 has 249, which ignores what it does not know."""
    for key, _ in lines(unit):
        assert SINCE[key] <= OLDEST, key


@pytest.mark.parametrize("unit", every_unit())
def test_nothing_makes_an_old_systemd_refuse_a_unit(unit: str) -> None:
    """A oneshot may be restarted on failure alone, and by no list of its own; `%d` is of 250."""
    assert set(values(unit, "Restart")) <= {"on-failure"}
    assert not values(unit, "RestartForceExitStatus")
    assert "%d" not in (UNITS / unit).read_text(encoding="utf-8")


def test_only_what_waiting_heals_is_tried_again() -> None:
    """That is 75, and 76, since access rules change; any other is in the list of those that are
    not, and no unit that others wait for is restarted."""
    table = (REPO / "docs/troubleshooting.md").read_text(encoding="utf-8")
    known = {int(one) for one in re.findall(r"^\| (\d+) \|", table, re.M)} - {0}
    prevented = {int(one) for one in values("lbhook-refresh.service", "RestartPreventExitStatus")}
    assert known - prevented == {75, 76}
    assert not [unit for unit in ("lbhook.service", FETCH) if values(unit, "Restart")]


def test_units_that_run_as_root_have_the_same_limits(tmp_path: Path) -> None:
    """One that had fewer would be the way around the others: whoever changes a line changes it in
    one place, and it is written into each of them."""
    for place in ("packaging", "systemd"):
        shutil.copytree(REPO / place, tmp_path / place)
    limits = tmp_path / "packaging/limits.conf"
    script = [sys.executable, str(tmp_path / "packaging/units.py")]
    subprocess.run(script, check=True)
    for unit in every_unit():
        assert (tmp_path / "systemd" / unit).read_text() == (UNITS / unit).read_text(), script[1]
    limits.write_text(limits.read_text() + "IPAccounting=yes\n")
    subprocess.run(script, check=True)
    changed = {
        unit for unit in every_unit() if "IPAccounting" in (tmp_path / "systemd" / unit).read_text()
    }
    assert changed == {*AS_ROOT}
    assert "[Install]\n" in (tmp_path / "systemd/lbhook.service").read_text()


def test_who_has_power_has_no_network_and_the_other_way_round() -> None:
    """Sockets of the kernel and of this machine; or no capability."""
    for unit in AS_ROOT:
        assert values(unit, "RestrictAddressFamilies") == ["AF_UNIX", "AF_NETLINK"]
    for unit in APPLYING:
        assert "restore" in unit or "--cached" in values(unit, "ExecStart")
    assert values(FETCH, "CapabilityBoundingSet") == []
    assert values(FETCH, "User") == ["lbhook"]
    assert not values(FETCH, "StateDirectory")


def test_nobody_makes_a_dev_while_tmp_is_emptied() -> None:
    """Where systemd before 255 makes it: PrivateTmp= waits for systemd-tmpfiles-setup.service."""
    for unit in (*AS_ROOT, FETCH):
        assert values(unit, "PrivateDevices") == values(unit, "PrivateTmp") == ["yes"]


def test_the_files_of_shipped_targets_can_be_written() -> None:
    """The units let lbhook write into their directories, and into that of the metrics."""
    own = [Paths().runtime, Paths().state]
    allowed = [PurePosixPath(one.lstrip("-")) for one in values(AS_ROOT[0], "ReadWritePaths")]
    for name, kind in SHIPPED.items():
        path = PurePosixPath(kind.defaults["path"].replace("{runtime}", str(own[0])))
        assert any(path.is_relative_to(one) for one in (*allowed, *own)), name
    page = (REPO / "docs/monitoring.md").read_text(encoding="utf-8")
    (textfile,) = re.findall(r'^textfile = "(.*)"$', page, re.M)
    assert PurePosixPath(textfile).parent in allowed
    keys = ("RuntimeDirectory", "StateDirectory")
    assert [values(AS_ROOT[0], key) for key in keys] == [[one.name] for one in own]


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize(("unit", "most"), [(FETCH, 1.2), *((unit, 1.7) for unit in AS_ROOT)])
def test_exposure(unit: str, most: float) -> None:
    """By systemd's own measure, 0 is none and 10 is all."""
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd before 250 can't tell")
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert level, done.stderr
    assert float(level[1]) <= most


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", [one for one in every_unit() if "/" not in one])
def test_systemd_has_nothing_to_say(unit: str) -> None:
    """But that lbhook is not installed here, and has no manual page."""
    argv = ["systemd-analyze", "verify", "--man=no", str(UNITS / unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "lbhook" in line]
    assert not [line for line in said if not _ABSENT.search(line)]


def test_what_is_documented_is_what_is_shipped() -> None:
    """Each unit has its row on the page of units, with what it runs."""
    page = (REPO / "docs/units.md").read_text(encoding="utf-8")
    for unit in every_unit():
        assert unit in page
    for unit in (*AS_ROOT, FETCH):
        command = " ".join(values(unit, "ExecStart")).removeprefix("/usr/bin/")
        assert f"| `{unit}` | `{command}` |" in page
