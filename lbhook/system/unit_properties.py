"""What `systemctl show` prints: for each unit a block of lines, `Name=value`."""

import shlex
from collections.abc import Collection, Mapping

from ..processes import Result, Run

# All that a run wants to know of a unit: to start systemctl takes longer than to list them.
_WANTED = (
    *("ActiveState", "MainPID", "Job", "UnitFileState", "ReloadResult", "Result"),
    *("LimitNOFILE", "LimitNOFILESoft", "ExecStart", "TriggeredBy"),
    *("User", "Group", "AmbientCapabilities", "RestrictAddressFamilies"),
)


class Units:
    """What systemd says of units, each asked once, until `look_again`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._said: dict[str, Result] = {}

    def show(self, name: str) -> Result:
        """What systemctl printed of a unit; what went wrong is not kept."""
        if name in self._said:
            return self._said[name]
        result = self._run(("systemctl", "show", name, f"--property={','.join(_WANTED)}"))
        if result.ok:
            self._said[name] = result
        return result

    def properties(self, name: str) -> dict[str, str]:
        """The properties of a unit."""
        return read(self.show(name).output)[0]

    def look_again(self) -> None:
        """Forget: time has passed, or something was done."""
        self._said.clear()


def words(value: str) -> list[str]:
    """The words of a value, whether or not systemd has quoted them."""
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def ip_versions(values: Mapping[str, str]) -> Collection[int]:
    """The versions of IP of which a unit's program may have sockets (RestrictAddressFamilies=)."""
    said = values.get("RestrictAddressFamilies", "")
    named, others = said.removeprefix("~").split(), said.startswith("~") or not said
    families = ((4, "AF_INET"), (6, "AF_INET6"))
    return [version for version, name in families if (name in named) is not others]


def read(output: str) -> list[dict[str, str]]:
    """The properties of each unit, in the order in which systemctl was asked."""
    return [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in output.split("\n\n")
    ]
