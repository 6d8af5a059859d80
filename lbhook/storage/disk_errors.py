"""What the kernel says of a disk, as the user should read it."""

import errno
from pathlib import Path

from ..errors import LbhookError, RightsError, WriteError

_UNITS = "if lbhook's units can't write {directory}, run `sudo lbhook install`, see docs/units.md"
_HINTS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: f"mount it writable; {_UNITS}",
    errno.EACCES: "run as root, or use --root DIR",
    errno.EPERM: "run as root; `lsattr` shows whether the file is immutable",
    errno.EISDIR: "remove what is there, or give the target another path",
    errno.ENOTDIR: "an element of the path is not a directory",
    errno.EIO: "see `dmesg`; a record of lbhook's that stays unreadable has to be moved away",
    errno.EMFILE: "a later run may open it",
    errno.ENFILE: "a later run may open it",
    errno.ENAMETOOLONG: "give the target a shorter path",
    errno.ELOOP: "remove the link, or give the target the path that it leads to",
}

# What stands in the way of one path, for as long as somebody leaves it there.
IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# A name that no file can have.
NO_NAME = (errno.ENOENT, errno.ENAMETOOLONG)


def failure(where: Path, error: OSError, *, privileged: bool) -> LbhookError:
    """An error about a path, with its status and hint; `privileged` says whether root is told."""
    hint = _HINTS.get(error.errno or 0, "")
    if privileged and error.errno == errno.EACCES:  # root without CAP_DAC_OVERRIDE
        hint = _UNITS
    hint = hint.format(directory=where.parent)
    kind: type[LbhookError] = WriteError
    if not privileged and error.errno in (errno.EACCES, errno.EPERM):
        kind = RightsError
    found = kind(f"{where}: {error.strerror}", hint=hint)
    if isinstance(found, WriteError):
        found.in_the_way = error.errno in IN_THE_WAY
        found.no_room = error.errno in NO_ROOM
    return found
