"""The doctor's checks of targets where no laboratory has what is wrong."""

import pytest

from lbhook.doctor import target_checks
from lbhook.doctor.findings import Level

from ..stand import NO_ENV, Runner, Stand, target
from .evidence import case, said


def test_a_label_that_is_not_its_place_s(stand: Stand) -> None:
    """restorecon is asked what it would do, where SELinux is in force."""
    text = f"{NO_ENV}{target('app')}"
    labels = "unconfined_u:object_r:tmp_t:s0", "system_u:object_r:etc_t:s0"
    says = f"Would relabel /etc/app from {labels[0]} to {labels[1]}\n"
    stand.runner = Runner(lambda _: (0, says))
    assert said(target_checks.label(case(stand, text))) == []
    enforce = stand.place / "machine/sys/fs/selinux/enforce"
    enforce.parent.mkdir(parents=True)
    enforce.write_text("1")
    assert said(target_checks.label(case(stand, text))) == [
        f"app: /etc/app has the SELinux label {labels[0]}, but should have {labels[1]}"
        " > `restorecon -v /etc/app`"
    ]
    assert stand.runner.taken() == ["restorecon -n -v /etc/app"]
    stand.runner = Runner()
    assert said(target_checks.label(case(stand, text))) == []


ON, OFF = (
    "ActiveState=active\nUnitFileState=enabled",
    "ActiveState=inactive\nUnitFileState=disabled",
)
MARK = 'vars = { policy = "mark" }'


@pytest.mark.parametrize(
    ("shown", "more", "text", "levels", "what"),
    [
        (ON, "ExecReload=nft -f x", "", [Level.WRONG], "a reload of nftables.service opens this"),
        ("UnitFileState=enabled", "", "", [Level.WRONG], "nftables.service opens this machine"),
        (ON, "", MARK, [Level.WRONG], "a reload of nftables.service leaves nothing marked"),
        (OFF, "ExecReload=nft -f x", "", [], ""),
        (ON, "ExecReload=nft -f lbhook.nft", "", [Level.UNSURE], "loading it by hand opens this"),
    ],
)
def test_nftables_service_that_nobody_reloads(
    stand: Stand, shown: str, more: str, text: str, levels: list[Level], what: str
) -> None:
    """One that is off flushes nothing, and one that loads lbhook's file does harm by hand alone."""
    conf = stand.place / "machine/etc/nftables.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("flush ruleset\n")
    drop_in = stand.place / "machine/usr/lib/systemd/system/nftables.service.d/x.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f"[Service]\n{more}\n")
    stand.runner = Runner(lambda _: (0, shown))
    findings = list(target_checks.flushed(case(stand, f"[targets.nftables]\n{text}")))
    assert [one.level for one in findings] == levels
    assert all(what in one.text for one in findings)
