"""What the doctor's checks are given, and what they say of it."""

from collections.abc import Iterator

from lbhook.doctor.findings import Evidence, Finding

from ..stand import Stand


def case(stand: Stand, text: str = "") -> Evidence:
    """What the doctor knows of a stand, with nothing asked yet."""
    settings = stand.settings(text)
    return Evidence(host=stand.host(settings), settings=settings)


def said(findings: Iterator[Finding]) -> list[str]:
    """What is said, with what is to be done."""
    return [f"{one.text} > {one.remedy}" for one in findings]
