"""The last good answer: how old it is, and whose."""

import base64
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..config.settings import Settings
from ..errors import LbhookError, NoAnswerError
from ..memory.record_forms import ANSWER
from ..metadata.body import parse
from ..metadata.configured import inbound
from ..metadata.model import InboundRule
from ..storage import forms
from ..storage.files import Tree
from ..system.machine import Machine
from .answer import Answer
from .identity import Identity, uuid_of_vm

# An unchanged answer is written again only when this share of `stale_after` has gone by.
_REWRITTEN_AFTER = 0.25


class LastGood:
    """The last good answer, kept in the state directory with its age and the VM's identity."""

    def __init__(
        self,
        tree: Tree,
        settings: Settings,
        machine: Machine = Machine(),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.tree = tree
        self.settings = settings
        self.machine = machine
        self.now = now

    @property
    def file(self) -> PurePosixPath:
        """Where it is kept."""
        return self.settings.paths.state / "answer.json"

    def keep(self, body: bytes, instance: bytes = b"") -> None:
        """Keep a body that was understood, if it says something new or its age grows old."""
        record = self.record(body, instance)
        if record:
            self.tree.write(self.file, record)

    def record(self, body: bytes, instance: bytes = b"") -> bytes:
        """What `keep` writes; nothing if what is kept says the same and is not old."""
        kept, identity = self._found(), self.identity()
        aged = self.settings.imds.stale_after * _REWRITTEN_AFTER
        same = kept and kept.says(body, instance) and kept.identity.covers(identity)
        if kept and same and 0 <= self.now() - kept.fetched < aged:
            return b""
        content = {
            "fetched": int(self.now()),
            "uuid": identity.uuid,
            "machine_id": identity.machine_id,
            "body": base64.b64encode(body).decode("ascii"),
            "instance": base64.b64encode(instance).decode("ascii"),
        }
        return forms.written(content)

    def load(self) -> Answer:
        """The last good answer of this VM.

        Raises `NoAnswerError` if there is none, it is damaged, or it is another VM's.
        """
        kept = self._read()
        if kept is None:
            raise NoAnswerError(f"{self._where}: there is no last good answer yet")
        mine = self.identity().same(kept.identity)
        if mine is None:
            problem = "neither UUID nor machine id can be compared; it is not used"
            raise NoAnswerError(f"{self._where}: {problem}")
        if not mine:
            raise NoAnswerError(f"{self._where}: another VM's answer; it is not used")
        try:
            metadata = parse(kept.body)
        except LbhookError as error:
            raise NoAnswerError(*(f"{self._where}: {one}" for one in error.problems)) from None
        age = max(0.0, self.now() - kept.fetched)
        return Answer(
            metadata=metadata,
            source="cache",
            age=age,
            instance=kept.instance,
            configured=self.configured,
        )

    def find(self, report: Callable[[str], None] = lambda _: None) -> Answer | None:
        """The last good answer of this VM, if there is one; why one that is kept can't be used
        is reported."""
        try:
            return self.load()
        except NoAnswerError as error:
            if self._is_kept():
                for problem in error.problems:
                    report(problem)
            return None

    @property
    def configured(self) -> tuple[InboundRule, ...]:
        """The rules of the configuration, which stand without an answer, too."""
        return inbound(self.settings.rules)

    def foreign(self) -> bool:
        """Whether what is kept is certainly another VM's: this disk was captured elsewhere."""
        kept = self._found()
        return kept is not None and self.identity().same(kept.identity) is False

    def identity(self) -> Identity:
        """This VM's identity, as far as lbhook may read it, or was given it by systemd."""
        file = Path(self.settings.paths.identity)
        return Identity(uuid=uuid_of_vm(file), machine_id=self.machine.machine_id())

    @property
    def _where(self) -> Path:
        return self.tree.outside(self.file)

    def _is_kept(self) -> bool:
        try:
            return self._read() is not None
        except NoAnswerError:
            return True

    def _found(self) -> "_Kept | None":
        try:
            return self._read()
        except NoAnswerError:
            return None

    def _read(self) -> "_Kept | None":
        try:
            content = self.tree.read(self.file)
        except LbhookError as error:
            raise NoAnswerError(*(f"{one}; it is not used" for one in error.problems)) from None
        if content is None:
            return None
        found = forms.record(content, ANSWER)
        if found.wrong:
            problem = f"{self._where}: the last good answer is {found.wrong}; it is not used"
            raise NoAnswerError(problem)
        return _Kept.of(found.values)


class _Kept(NamedTuple):
    fetched: float
    identity: Identity
    body: bytes
    instance: bytes

    def says(self, body: bytes, instance: bytes) -> bool:
        """Whether this is what was kept; an instance that was not asked for stays."""
        return self.body == body and instance in (b"", self.instance)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "_Kept":
        """What the record says."""
        identity = Identity(uuid=record["uuid"], machine_id=record["machine_id"])
        return cls(record["fetched"], identity, record["body"], record["instance"])
