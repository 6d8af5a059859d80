"""What Azure is about to do to VMs: `/metadata/scheduledevents`.

Form, words and times are Microsoft's, "Scheduled Events for Linux VMs":
https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events. An event is announced 15
minutes before it (`Redeploy` 10, `Terminate` 5 to 15, `Preempt` 30 s; for ailing hardware days),
and gone from the list once it is over or cancelled; no status says so. Each VM of an availability
set or placement group hears of those of all others. Nothing is taken from a body of another form.
"""

import calendar
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import MetadataError
from .reader import decode, shown

PATH, VERSION = "/metadata/scheduledevents", "2020-07-01"
# After them the VM, or its connections, are gone. A Freeze is a pause of some seconds, which
# connections outlive; one that lasts longer fails the probes by itself.
INTERRUPTING = ("Reboot", "Redeploy", "Preempt", "Terminate")
_KNOWN = (*INTERRUPTING, "Freeze")
_STATUSES = ("Scheduled", "Started")
_MOST = 1000
_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.()-]{1,260}", re.ASCII)


class Event(NamedTuple):
    """An event. `kind` is Azure's EventType; `begins` is when it may begin, in seconds since 1970,
    and 0 once it has; `names` are those of the VMs that it is for, in lower case."""

    id: str
    kind: str
    begins: float
    names: tuple[str, ...]

    @property
    def interrupts(self) -> bool:
        """Whether its VMs lose their connections."""
        return self.kind in INTERRUPTING


def parse(body: bytes, mine: str = "") -> tuple[tuple[Event, ...], tuple[str, ...]]:
    """The events of a body, and warnings of those that are left out: of a type that is not known,
    or not to be read and, by the name of this VM, others' alone.

    Raises `MetadataError` if anything else in it is not what Microsoft documents.
    """
    root = decode(body)
    listed = root.get("Events") if isinstance(root, dict) else None
    if not isinstance(listed, list) or len(listed) > _MOST:
        raise MetadataError(f"Events: {shown(listed)} is not a list of events")
    found, warnings, problems = [], [], []
    for at, one in enumerate(listed):
        reading = _Reading()
        event = reading.event(one, f"Events[{at}]")
        warnings += reading.warnings
        if reading.problems and _is_others(one, mine):
            warnings += [
                f"{problem}; it is not this VM's, and left out" for problem in reading.problems
            ]
        else:
            found.append(event)
            problems += reading.problems
    if problems:
        raise MetadataError(*problems)
    return tuple(one for one in found if one.kind in _KNOWN), tuple(warnings)


def takes_a_name(body: bytes) -> bool:
    """Whether it takes this VM's name to tell what a body means for it; so it does where whose an
    event is can't be read."""
    try:
        return any(one.interrupts for one in parse(body)[0])
    except MetadataError:
        return True


def _is_others(value: object, mine: str) -> bool:
    """Whether it says of whom an event is, and that is not this VM."""
    names = value.get("Resources") if isinstance(value, dict) else None
    if not (mine and isinstance(names, list) and all(isinstance(one, str) for one in names)):
        return False
    return mine.lower() not in map(str.lower, names)


class _Reading:
    """What is wrong with an event, and what is new in it."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def event(self, value: object, path: str) -> Event:
        members = value if isinstance(value, dict) else {}
        kind = self._text(members, path, "EventType", _NAME)
        if kind and kind not in _KNOWN:
            self.warnings.append(f"{path}.EventType: {shown(kind)} is not known; it is left out")
        if members.get("EventStatus") not in _STATUSES:
            said = shown(members.get("EventStatus"))
            self.problems.append(f"{path}.EventStatus: {said} is neither Scheduled nor Started")
        return Event(
            id=self._text(members, path, "EventId", _ID),
            kind=kind,
            begins=self._begins(members, f"{path}.NotBefore"),
            names=self._names(members.get("Resources"), f"{path}.Resources"),
        )

    def _text(self, members: Mapping[str, Any], path: str, key: str, form: re.Pattern[str]) -> str:
        value = members.get(key)
        if isinstance(value, str) and form.fullmatch(value):
            return value
        self.problems.append(f"{path}.{key}: {shown(value)} is nothing that Azure gives")
        return ""

    def _names(self, value: object, path: str) -> tuple[str, ...]:
        """Those that are names; the list is that of a whole set of VMs."""
        if not isinstance(value, list) or not all(
            isinstance(one, str) and _NAME.fullmatch(one) for one in value
        ):
            self.problems.append(f"{path}: {shown(value)} is not a list of names")
            return ()
        return tuple(one.lower() for one in value)

    def _begins(self, members: Mapping[str, Any], path: str) -> float:
        """It is blank once the event has begun."""
        value = members.get("NotBefore")
        if members.get("EventStatus") == "Started" and value in (None, ""):
            return 0.0
        try:
            read = time.strptime(str(value), "%a, %d %b %Y %H:%M:%S GMT")
        except ValueError:
            self.problems.append(f"{path}: {shown(value)} is no time")
            return 0.0
        return 0.0 if members.get("EventStatus") == "Started" else float(calendar.timegm(read))
