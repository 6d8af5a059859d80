"""What a boot gets before there is a network."""

from pathlib import PurePosixPath

from lbhook.config.settings import Settings
from lbhook.deployment.report import Report, restored_text
from lbhook.memory.journal_entries import Entry
from lbhook.runs.restoration import Restoration

from ..stand import GROUP, USER, Runner, Stand, body, outcomes, target

A, B = body(80, 443), body(80, 8443)
OWNED = f'owner = "{USER}"\ngroup = "{GROUP}"\n'
ALL = (
    f"[targets.env]\n{OWNED}[targets.nftables]\n{OWNED}[targets.floating-ip]\n{OWNED}"
    f"{target('own')}"
)
NFT, ENV = "/etc/nftables.d/lbhook.nft", "/run/lbhook/lb.env"
LOAD = "nft -f"


def restore(stand: Stand, settings: Settings) -> Report:
    """One restoration."""
    stand.warnings.clear()
    return Restoration(stand.context(settings)).carry_out()


def reboot(stand: Stand) -> None:
    """What is in the runtime directory, and in the kernel, is gone."""
    stand.boot_id = "boot-2"
    for file in (stand.disk / "run/lbhook").iterdir():
        file.unlink()
    stand.runner.taken()


def applied(stand: Stand, answer: bytes) -> Settings:
    """A machine that was up to date when it went down."""
    settings = stand.settings(ALL)
    stand.apply(settings, answer)
    last = stand.update(settings, None).fetcher.last_good
    last.keep(answer)
    reboot(stand)
    return settings


def test_firewall_and_env_file_are_there_again(stand: Stand) -> None:
    """As the last good answer has them; services and their files are left alone."""
    settings = applied(stand, A)
    before = stand.text(NFT)
    report = restore(stand, settings)
    assert (report.status, report.outcome) == (0, "changed")
    assert outcomes(report) == {
        "env": ("restored", "none"),
        "nftables": ("unchanged", "done"),
        "floating-ip": ("restored", "done"),
    }
    assert (stand.text(NFT), "LB_TCP_PORTS=80,443" in (stand.text(ENV) or "")) == (before, True)
    calls = stand.runner.taken()
    assert [one for one in calls if one.startswith(LOAD)] == [f"{LOAD} {stand.disk}{NFT}"]
    assert "load own" not in calls
    assert restored_text(report).endswith("restored: 2 inbound rules of the last good answer\n")


def test_a_second_time_nothing_is_missing(stand: Stand) -> None:
    """It writes nothing and loads nothing."""
    settings = applied(stand, A)
    restore(stand, settings)
    stand.runner.taken()
    report = restore(stand, settings)
    assert report.outcome == "unchanged"
    assert not [one for one in stand.runner.taken() if one.startswith(LOAD)]
    assert "nothing was missing" in restored_text(report)


def test_first_boot(stand: Stand) -> None:
    """Without a last good answer everything is at rest, which is no failure."""
    report = restore(stand, stand.settings(ALL))
    assert (report.status, report.outcome, stand.warnings) == (0, "absent", [])
    assert "LB_TCP_PORTS=\n" in (stand.text(ENV) or "")
    assert stand.text("/etc/own") is None
    assert restored_text(report).endswith("at rest: there is no last good answer of this VM\n")


def test_another_vms_disk(stand: Stand) -> None:
    """its firewall table is removed before it is loaded, and its ports are in no file."""
    settings = applied(stand, A)
    (stand.place / "uuid").write_text("22222222-2222-3333-4444-555555555555\n")
    loaded: list[str | None] = []

    def note(argv: tuple[str, ...]) -> None:
        if " ".join(argv).startswith(LOAD):
            loaded.append(stand.text(NFT))

    stand.runner = Runner(note)
    report = restore(stand, settings)
    assert (report.status, report.outcome) == (0, "absent")
    assert loaded
    assert not [one for one in loaded if "443" in (one or "")]
    assert "443" not in (stand.text(ENV) or "")
    assert stand.text("/etc/own") == "80\n443\n"
    assert "this disk was captured from another VM: its firewall table is removed" in stand.warnings


def test_an_unfinished_run_is_settled_first(stand: Stand) -> None:
    """Power failed in the middle of an apply: what is loaded is whole, and of one answer."""
    settings = applied(stand, A)
    old, host = stand.text(NFT), stand.host(settings)
    path = PurePosixPath(NFT)
    host.journal.begin([Entry(path=path, before=host.tree.state(path), after="")])
    stand.put(NFT, "half\n")
    report = restore(stand, settings)
    assert (report.status, stand.text(NFT)) == (0, old)
    assert any("did not finish" in one for one in stand.warnings)


def test_a_reload_that_fails_is_said(stand: Stand) -> None:
    """The unit fails, and the boot goes on."""
    settings = applied(stand, A)
    stand.runner = Runner(lambda argv: (1, "no kernel") if argv[:2] == ("nft", "-f") else None)
    report = restore(stand, settings)
    assert report.status == 69
    assert "no kernel" in "\n".join(report.problems)
    assert restored_text(report).endswith("failed: not everything is restored\n")


def test_nothing_early_is_on(stand: Stand) -> None:
    """A configuration without any such target is no reason to touch the others."""
    settings = stand.settings("[targets.env]\nenabled = false\n" + target("own"))
    report = restore(stand, settings)
    assert (report.changes, stand.runner.taken()) == ((), [])
