"""`drain` and `undrain`, and what other runs owe to a drain."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest

from lbhook.errors import BusyError, LbhookError, ReloadError, RightsError, WriteError
from lbhook.levers.drain import Drain
from lbhook.levers.reach import limits
from lbhook.levers.upkeep import Upkeep
from lbhook.memory.drains import Drained
from lbhook.runs.restoration import Restoration
from lbhook.runs.undo import Undo
from lbhook.storage.files import Tree

from ..stand import NO_ENV, Stand, altered, body, target

ONE = NO_ENV + target("one")
HERE, KEPT = "/run/lbhook/drain.json", "/var/lib/lbhook/drain.json"
LOAD, LIST = "nft -f -", "nft --stateless --numeric list table inet lbhook_drain"
LISTED = "168.63.129.16, fe80::1234:5678:9abc reject with tcp reset"
NOW = 1_790_000_000.0


def draining(stand: Stand, now: float = NOW, config: str = ONE) -> Drain:
    """What drains the stand."""
    return Drain(stand.context(stand.settings(config)), now=lambda: now)


def drain(stand: Stand, now: float = NOW, **how: Any) -> Drained:
    """Drain it."""
    return draining(stand, now).begin("ann", **how)


def loaded(stand: Stand) -> str:
    """The table that was loaded last."""
    return stand.runner.read[-1].decode()


def lists(stand: Stand, listed: str) -> None:
    """Let the kernel have a table; empty: none."""
    stand.runner.answers = lambda argv: (
        (0 if listed else 1, listed) if " ".join(argv) == LIST else None
    )


def reboot(stand: Stand, boot: str = "boot-2") -> None:
    """A boot: what was in the runtime directory is gone, and the time begins anew."""
    for name in (HERE, "/run/lbhook/status.json", "/run/lbhook/loaded.json"):
        (stand.disk / name.lstrip("/")).unlink(missing_ok=True)
    stand.boot_id, stand.time = boot, 10.0


def test_a_drain_refuses_probes_and_an_end_answers_them(stand: Stand) -> None:
    """The record says since when, by whom and why; the table is loaded, and taken away again."""
    drained = drain(stand, reason="kernel upgrade")
    assert drained.text == "drained since 2026-09-21 14:13 UTC by ann: kernel upgrade"
    assert "ip saddr @probes_ip meta l4proto tcp jump input_probe" in loaded(stand)
    assert draining(stand).known() == drained
    assert draining(stand).end() == drained
    assert loaded(stand) == "add table inet lbhook_drain; delete table inet lbhook_drain\n"
    assert draining(stand).known() is None
    assert stand.text(HERE) is None
    assert stand.runner.taken() == [LOAD, LOAD]


def test_an_end_without_a_drain_is_no_failure(stand: Stand) -> None:
    """And takes a table away that nobody knows of."""
    assert draining(stand).end() is None
    assert loaded(stand) == "add table inet lbhook_drain; delete table inet lbhook_drain\n"


def test_probes_come_from_where_azure_and_the_configuration_say(stand: Stand) -> None:
    """A `probe_sources` of one's own adds to Azure's addresses."""
    config = f'{ONE}[targets.nftables.vars]\nprobe_sources = ["10.9.9.9"]\n'
    draining(stand, config=config).begin("ann")
    assert "elements = { 168.63.129.16, 10.9.9.9 }" in loaded(stand)
    assert "elements = { fe80::1234:5678:9abc }" in loaded(stand)


def test_a_second_drain_takes_the_place_of_the_first(stand: Stand) -> None:
    """Its reason and its end count; the time stays that of the first."""
    drain(stand, reason="one", lasts=60.0)
    drained = drain(stand, NOW + 30.0, reason="two")
    assert (drained.since, drained.reason, drained.until) == (NOW, "two", 0.0)
    assert "timeout" not in loaded(stand)


def test_a_drain_ends_at_its_time(stand: Stand) -> None:
    """The kernel is told how long; the next run says that it is over and tidies up."""
    stand.apply(stand.settings(ONE), body(80))
    drain(stand, lasts=1800.0)
    assert "168.63.129.16 timeout 1800s" in loaded(stand)
    stand.time += 1799.0
    assert draining(stand).known()
    stand.time += 1.0
    assert draining(stand).known() is None
    stand.apply(stand.settings(ONE), body(80))
    assert stand.warnings == ["the drain has ended at its time: health probes are answered again"]
    assert (stand.text(HERE), stand.text(KEPT)) == (None, None)


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps_ends_no_drain(stand: Stand, jump: float) -> None:
    """Within a boot the time since it counts."""
    drain(stand, lasts=1800.0)
    assert draining(stand, NOW + jump).known()
    stand.time += 1800.0
    assert draining(stand, NOW + jump).known() is None


@pytest.mark.parametrize(
    ("later", "timeout"), [(600.0, "1200s"), (-1e9, "1800s"), (1800.0, ""), (1e9, "")]
)
def test_one_that_outlasts_a_reboot_ends_at_its_time(
    stand: Stand, later: float, timeout: str
) -> None:
    """By the clock of the next boot, but never later than after the whole of its time."""
    drain(stand, lasts=1800.0, persist=True)
    reboot(stand)
    said = Upkeep(draining(stand, NOW + later)).uphold()
    assert (f"timeout {timeout}" in loaded(stand)) is bool(timeout)
    assert (draining(stand).known() is not None) is bool(timeout)
    assert said.startswith("drained since" if timeout else "the drain has ended")


def test_a_reboot_ends_a_drain_unless_it_persists(stand: Stand) -> None:
    """`restore` puts the one in force that does, before anything else of lbhook runs."""
    drain(stand)
    reboot(stand)
    stand.runner.taken()
    Restoration(stand.context(stand.settings(ONE))).carry_out()
    assert stand.runner.taken() == []
    drain(stand, persist=True)
    reboot(stand, "boot-3")
    report = Restoration(stand.context(stand.settings(ONE))).carry_out()
    assert report.drained is not None
    assert report.drained.by == "ann"
    assert stand.runner.taken() == [LOAD, LOAD]
    draining(stand).end()
    reboot(stand, "boot-4")
    assert Upkeep(draining(stand)).uphold() == ""
    assert draining(stand).known() is None


def test_a_captured_disk_brings_no_drain_along(stand: Stand) -> None:
    """Another VM serves from its first boot on."""
    drain(stand, persist=True)
    (stand.place / "uuid").write_text("99999999-2222-3333-4444-555555555555\n")
    reboot(stand)
    said = "this disk was captured from another VM, which was drained: this one is not"
    assert Upkeep(draining(stand)).uphold() == said
    assert (draining(stand).known(), stand.text(KEPT)) == (None, None)


def test_a_clean_leaves_nothing_for_the_next_boot(stand: Stand) -> None:
    """The drain goes on, and says that it ends with this boot; then an image can be captured."""
    stand.apply(stand.settings(ONE), body(80))
    drain(stand, persist=True)
    stand.runner.taken()
    report = Undo(stand.context(stand.settings(ONE))).clean()
    assert str(stand.disk / KEPT[1:]) in report.removed
    assert stand.warnings == ["this VM stays drained until it reboots; `lbhook undrain` ends that"]
    assert LOAD not in stand.runner.taken()
    assert draining(stand).known()
    assert not (stand.disk / "var/lib/lbhook").exists()


def test_each_run_sees_to_the_table(stand: Stand) -> None:
    """A table that is there is left alone; one that somebody flushed is loaded again, and said;
    the report and its last line have the drain."""
    settings = stand.settings(ONE)
    stand.apply(settings, body(80))
    drained = drain(stand)
    stand.runner.taken()
    lists(stand, LISTED)
    report = stand.apply(settings, body(80))
    assert stand.runner.taken() == [LIST]
    assert report.to_json()["drained"] == drained.to_json()
    assert report.summary().endswith(f"; {drained.text}")
    lists(stand, "")
    stand.apply(settings, body(80))
    assert stand.runner.taken() == [LIST, LOAD]
    assert stand.warnings == [
        "the drain's table was gone; it is loaded again, and health probes are refused"
    ]


def test_a_run_without_a_drain_asks_nft_nothing(stand: Stand) -> None:
    """Nor does it say anything of one."""
    settings = stand.settings(ONE)
    stand.apply(settings, body(80))
    stand.runner.taken()
    report = stand.apply(settings, body(80))
    assert stand.runner.taken() == []
    assert "drained" not in report.to_json()


def test_a_table_that_cannot_come_back_is_the_failure_of_the_run(stand: Stand) -> None:
    """Which does its work all the same."""
    settings = stand.settings(ONE)
    drain(stand)
    stand.runner.answers = lambda argv: (1, "no") if argv[0] == "nft" else None
    report = stand.apply(settings, body(80))
    assert (report.status, report.outcome) == (69, "changed")
    assert report.problems[0].startswith("`nft -f -` ended with status 1")
    assert stand.text("/etc/one") == "80\n"


# Bad input: each is an error that says what to do, and nothing has changed.


def test_without_nft(stand: Stand) -> None:
    """Nothing can refuse probes."""
    stand.find = lambda _: None
    with pytest.raises(ReloadError, match="nft is not installed") as raised:
        drain(stand)
    assert "apt-get install nftables" in raised.value.hint
    assert draining(stand).known() is None


def test_without_root(stand: Stand) -> None:
    """Both commands want root."""
    one = draining(stand)
    tree = Tree(root=stand.disk, privileged=False)
    host = altered(one.context.host, tree=tree)
    user = Drain(one.context._replace(host=host))
    for command in (lambda: user.begin("ann"), user.end):
        with pytest.raises(RightsError, match="not root"):
            command()


@pytest.mark.parametrize("before", [False, True])
def test_a_table_that_the_kernel_refuses(stand: Stand, before: bool) -> None:
    """What was in force before still is, here and for the next boot."""
    if before:
        drain(stand, reason="first", persist=True)
    known = (stand.text(HERE), stand.text(KEPT))
    stand.runner.answers = lambda _: (1, "Operation not supported")
    with pytest.raises(ReloadError, match="Operation not supported"):
        drain(stand, reason="second", persist=not before)
    assert (stand.text(HERE), stand.text(KEPT)) == known


@pytest.mark.parametrize("error", [errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("place", ["/run", "/var"])
def test_a_disk_that_cannot_be_written(stand: Stand, error: int, place: str) -> None:
    """Full, or read-only: the VM is not drained, and nothing says that it is."""

    def step(name: str, path: PurePosixPath) -> None:
        if name != "unlink" and str(path).startswith(place) and "drain" in path.name:
            raise OSError(error, os.strerror(error))

    stand.step = step
    with pytest.raises(WriteError, match=os.strerror(error)):
        drain(stand, persist=True)
    assert (stand.text(HERE), stand.text(KEPT)) == (None, None)
    assert stand.runner.taken() == []


def test_a_read_only_state_directory_keeps_no_vm_drained(stand: Stand) -> None:
    """The end is in force in this boot, and the error says what the next one would find."""
    drain(stand, persist=True)

    def step(_: str, path: PurePosixPath) -> None:
        if str(path).startswith("/var"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    stand.step = step
    with pytest.raises(WriteError, match=r"var/lib/lbhook/drain\.json: Read-only") as raised:
        draining(stand).end()
    assert raised.value.hint.startswith("it is no longer drained, but a reboot drains it again")
    assert "delete table" in loaded(stand)
    assert Upkeep(draining(stand)).uphold() == ""
    assert draining(stand).known() is None


def test_while_a_run_is_under_way(stand: Stand) -> None:
    """The lock is waited for, and then it is said who has it."""
    one = draining(stand)
    locked = one.context.host.locked(one.context.settings.paths.runtime)
    with locked, pytest.raises(BusyError, match="another run of lbhook, pid"):
        drain(stand)
    assert draining(stand).known() is None


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a number": lambda _: 7,
    "a list": lambda _: [],
    "another version": lambda known: {**known, "version": 99},
    "no version": lambda known: {**known, "version": None},
    "nothing": lambda _: {},
    "a time of no clock": lambda known: {**known, "since": 1e300},
    "no time": lambda known: {**known, "since": "soon"},
    "a time before all": lambda known: {**known, "ends": -1},
    "endless": lambda known: {**known, "until": float("nan")},
    "a table for a time": lambda known: {**known, "lasts": {}},
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_record(stand: Stand, how: str) -> None:
    """It counts as none, is said, and the next drain replaces it."""
    drain(stand, persist=True)
    known = json.loads(stand.text(HERE) or "")
    for name in (HERE, KEPT):
        stand.put(name, json.dumps(DAMAGE[how](known)))
    assert draining(stand).known() is None
    stand.apply(stand.settings(ONE), body(80))
    said = [one for one in stand.warnings if "drain.json: " in one]
    assert len(said) == 2
    assert all(
        "; what can't be read is ignored, and kept in drain.json.damaged" in one for one in said
    )
    drain(stand)
    assert draining(stand).known()


def test_what_cannot_be_drained(stand: Stand) -> None:
    """Without an answer nothing is known of it."""
    assert list(limits(draining(stand).rules())) == [
        "no last good answer: which rules lead here is not known"
    ]


def test_errors_carry_a_hint(stand: Stand) -> None:
    """Each says what to do."""
    stand.runner.answers = lambda _: (1, "no")
    with pytest.raises(LbhookError) as raised:
        drain(stand)
    assert raised.value.hint == "nothing was changed"
