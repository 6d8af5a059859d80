"""Writes the limits that the units of root share, packaging/limits.conf, into each of them.

A unit is complete as it is shipped: one that had lost a drop-in would run without any limit.
"""

import re
from pathlib import Path

_HERE = Path(__file__).parent
_MARK = "# packaging/limits.conf, written here by packaging/units.py:\n"
# What is between the mark and the next section, or the end.
_LIMITS = re.compile(rf"(?<={re.escape(_MARK)}).*?(?=\n\[|\Z)", re.DOTALL)


def filled(unit: str, limits: str) -> str:
    """The text of a unit with these limits; one without the mark stays as it is."""
    return _LIMITS.sub(lambda _: limits, unit)


def main() -> None:
    """Fill in every unit beside this directory."""
    limits = (_HERE / "limits.conf").read_text(encoding="utf-8")
    for file in (_HERE.parent / "systemd").glob("*.service"):
        text = file.read_text(encoding="utf-8")
        if filled(text, limits) != text:
            file.write_text(filled(text, limits), encoding="utf-8")


if __name__ == "__main__":
    main()
