"""What a run by hand tells the journal."""

import os
from collections.abc import Iterable

from lbhook.system import journald

LINES = ((journald.INFO, "+ tcp 50.0.0.1:80 → 10.1.0.4:443"), (journald.WARNING, "gone"))


def test_each_line_is_an_entry() -> None:
    """In journald's own protocol, at journald's own place, with its priority."""
    sent: list[tuple[str, list[bytes]]] = []
    journald.record(LINES, environment={}, send=lambda *one: sent.append((one[0], [*one[1]])))
    begin = "SYSLOG_IDENTIFIER=lbhook\nMESSAGE="
    assert sent == [
        (
            "/run/systemd/journal/socket",
            [
                f"PRIORITY=6\n{begin}+ tcp 50.0.0.1:80 → 10.1.0.4:443\n".encode(),
                f"PRIORITY=4\n{begin}gone\n".encode(),
            ],
        )
    ]


def test_a_unit_s_output_is_not_told_twice() -> None:
    """systemd says to a unit which file is the journal's; what it starts may have been given
    another output, and the variable alone."""
    sent: list[str] = []
    found = os.fstat(2)
    for stream in (f"{found.st_dev}:{found.st_ino}", "9:42"):
        unit = {"JOURNAL_STREAM": stream}
        journald.record(LINES, environment=unit, send=lambda address, _: sent.append(address))
        assert bool(sent) is (stream == "9:42")


def test_without_a_journal_nothing_happens() -> None:
    """Neither where there is none nor where it takes nothing."""

    def refuse(address: str, entries: Iterable[bytes]) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable", address)

    journald.record(LINES, environment={}, send=refuse)
