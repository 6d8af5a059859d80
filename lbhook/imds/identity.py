"""Which VM this is."""

import os
import re
from pathlib import Path
from typing import NamedTuple

# What firmware says when nobody gave the machine a UUID.
_NO_UUID = re.compile(r"[0-]+|[fF-]+")
# What the unit that fetches calls the UUID, which only root may read.
_CREDENTIAL = "product_uuid"


class Identity(NamedTuple):
    """Whose answer it is: SMBIOS UUID and machine id, each empty if it could not be read."""

    uuid: str = ""
    machine_id: str = ""

    def same(self, other: "Identity") -> bool | None:
        """Whether both are the same VM; None if that can't be told.

        Azure's UUID differs in case and in the byte order of its first three fields between
        kernels, so both orders count.
        """
        if self.uuid and other.uuid:
            return self.uuid.lower() in (other.uuid.lower(), _swapped(other.uuid.lower()))
        if self.machine_id and other.machine_id:
            return self.machine_id == other.machine_id
        return None

    def covers(self, other: "Identity") -> bool:
        """Whether nothing is known of the other that is not known here."""
        return bool(
            self.same(other)
            and (self.uuid or not other.uuid)
            and (self.machine_id or not other.machine_id)
        )


def uuid_of_vm(file: Path) -> str:
    """The SMBIOS UUID in a file, or as systemd gave it to a unit whose user may not read that;
    empty if it can't be read, or is none."""
    given = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return _uuid(file) or _uuid(Path(given, _CREDENTIAL))


def _uuid(file: Path) -> str:
    """The UUID in a file; empty if it can't be read, or is none."""
    try:
        uuid = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return "" if _NO_UUID.fullmatch(uuid) else uuid


def _swapped(uuid: str) -> str:
    """A UUID with the bytes of its first three fields in the other order."""
    found = re.fullmatch(r"([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-(.*)", uuid)
    if not found:
        return uuid
    *fields, rest = found.groups()
    return "-".join([*(bytes.fromhex(field)[::-1].hex() for field in fields), rest])
