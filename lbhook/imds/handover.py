"""What one process has heard for another: the one that asks has no rights, and the one that has
rights asks nobody. What comes out of it is read as strictly as what comes from the network."""

import base64
import json
import math
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ..errors import LbhookError
from ..metadata.reader import MOST_BYTES
from ..paths import Paths
from ..storage import forms
from ..storage.files import Tree

_VERSION = 1
# Three bodies in base64, and what is around them.
_MOST = 5 * MOST_BYTES


class Handed(NamedTuple):
    """One answer that was heard: its body, None if there is no load balancer; the body of
    `/metadata/instance`, empty if it was not asked for; when it was read, in seconds of this
    boot; how much was tried; whether metadata is guarded, if that is known; and the body of
    `/metadata/scheduledevents`, None if there is none."""

    body: bytes | None
    instance: bytes
    read: float
    attempts: int
    waited: float
    guarded: bool | None = None
    events: bytes | None = None


class Handover:
    """The place where the newest answer of this boot is handed over, in a runtime directory that
    is the asking user's. Nothing in it is to be trusted."""

    def __init__(self, tree: Tree, paths: Paths) -> None:
        self.tree = tree
        self.paths = paths

    @property
    def file(self) -> PurePosixPath:
        """Where it is."""
        return self.paths.handover

    def leave(self, handed: Handed) -> None:
        """Leave an answer, in place of the one before."""
        content = {
            "version": _VERSION,
            "body": None if handed.body is None else _text(handed.body),
            "instance": _text(handed.instance),
            "read": handed.read,
            "attempts": handed.attempts,
            "waited": handed.waited,
            "guarded": handed.guarded,
            "events": None if handed.events is None else _text(handed.events),
        }
        self.tree.write(self.file, f"{json.dumps(content, indent=1)}\n".encode())

    def take(self, now: float) -> Handed | None:
        """The answer that was left, if one was. Whatever its file says, it was read by `now`.

        Raises `LbhookError` if it can't be used.
        """
        found = self.tree.state(self.file, most=_MOST)
        if found is None:
            return None
        try:
            return _handed(forms.decoded(found.content), now)
        except (ValueError, LookupError, TypeError, OverflowError):
            where = self.tree.outside(self.file)
            raise LbhookError(f"{where}: what was fetched is damaged; it is not used") from None


def _handed(content: Any, now: float) -> Handed:
    """What the file says. Raises one of Python's own errors if it is not such a file."""
    if content["version"] != _VERSION:
        raise ValueError("of another version")
    return Handed(
        body=_body(content["body"]),
        instance=base64.b64decode(content["instance"], validate=True),
        read=min(_seconds(content["read"]), now),
        attempts=int(_seconds(content["attempts"])),
        waited=_seconds(content["waited"]),
        # Left out by an older lbhook, which may have asked before this one was installed.
        guarded=_flag(content.get("guarded")),
        events=_body(content.get("events")),
    )


def _seconds(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError("not a time")
    return number


def _flag(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise ValueError("of another version")


def _body(value: Any) -> bytes | None:
    return None if value is None else base64.b64decode(value, validate=True)


def _text(body: bytes) -> str:
    return base64.b64encode(body).decode("ascii")
