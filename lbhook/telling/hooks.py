"""Neighbours that are told what changed: a command, with the old and the new model to read.

What is in force is compared with what the command was told last. So it is owed whenever the two
differ, and neither its failure nor a kill nor a boot makes it forgotten.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..config.settings import Hooks
from ..errors import ReloadError
from ..layout import count
from ..metadata import facts
from ..metadata.model import Metadata
from ..processes import filled
from ..programs.host import Host

Files = Mapping[str, Mapping[str, str]]


class Hook:
    """The hook of one host."""

    def __init__(self, host: Host, hooks: Hooks) -> None:
        self.host = host
        self.hooks = hooks

    @property
    def wanted(self) -> bool:
        """Whether there is a command, and this is the machine whose neighbours it tells."""
        return self.host.live and bool(self.hooks.changed)

    def note(self, metadata: Metadata) -> None:
        """Write down what is in force from now on, which is owed if it is something new."""
        if not self.wanted:
            return
        # Imported only where there is a hook.
        from ..traffic import model_json

        record = self.host.state.told()
        told, owed, model = (
            record["told"],
            record["owed"],
            model_json.model(facts.derive(metadata), metadata),
        )
        now = {"model": model, "files": self._files()}
        if now == told and owed:
            self.host.state.keep_told(told=told)
        elif now not in (told, owed):
            self.host.state.keep_told(told=told, owed=now)

    def pay(self) -> None:
        """Run the command if it is owed. Raises `ReloadError` if it fails; it stays owed then."""
        record = self.host.state.told()
        if not (self.wanted and record["owed"]):
            return
        told, owed = record["told"] or {"model": None, "files": {}}, record["owed"]
        changes = [*_changes(told["files"], owed["files"])]
        event = {"old": told["model"], "new": owed["model"], "changes": changes}
        argv = filled(self.hooks.changed, {"summary": _summary(owed["model"], changes)})
        stdin = f"{json.dumps(event)}\n".encode()
        result = self.host.free(argv, self.hooks.timeout, stdin)
        if not result.ok:
            raise ReloadError(
                f"hooks.changed: {result.report()}",
                hint="the changes are in force; the next apply runs the hook again",
            )
        self.host.state.keep_told(told=owed)

    def _files(self) -> Files:
        """What is installed, by path."""
        installed = self.host.state.installed().items()
        return {
            path: {"name": one.name, "digest": one.digest}
            for path, one in installed
            if not one.undone
        }


def _changes(old: Files, new: Files) -> Iterator[dict[str, str]]:
    for path in sorted({*old, *new}):
        if old.get(path) != new.get(path):
            outcome = "created" if path not in old else "changed" if path in new else "removed"
            name = {**old, **new}[path]["name"]
            yield {"name": name, "path": path, "outcome": outcome}


def _summary(model: Mapping[str, Any], changes: list[dict[str, str]]) -> str:
    rules, listeners = (len(model[key]) for key in ("inbound_rules", "listeners"))
    names = ", ".join(one["name"] for one in changes) or "no file"
    return f"{count(rules, 'inbound rule')}, {count(listeners, 'listener')} here; changed: {names}"
