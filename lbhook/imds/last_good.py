"""Which answer is in force: fresh, last good, absent, or none; how old it is, and whose."""

import base64
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..config.schema import nearest
from ..config.settings import Settings
from ..errors import LbhookError, NoAnswerError, UsageError
from ..metadata.configured import inbound, merged
from ..metadata.facts import Facts, derive
from ..metadata.model import InboundRule, Metadata, parse
from ..metadata.reader import MOST_BYTES
from ..resources import BODIES, shipped
from ..storage import forms
from ..storage.files import Tree
from ..storage.records import ANSWER
from ..system.machine import Machine

# An unchanged answer is written again only when this share of `stale_after` has gone by.
_REWRITTEN_AFTER = 0.25
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


class Answer(NamedTuple):
    """An answer in force. `metadata` is None when IMDS says that there is no load balancer;
    `source` is "imds", "cache" or "file", `age` in seconds; `configured` are rules of the
    configuration, which stand beside it; `instance` is the body of `/metadata/instance`, empty if
    it was not asked for; `guarded` says whether metadata is guarded on this VM, None if IMDS was
    not asked."""

    metadata: Metadata | None
    source: str
    attempts: int = 0
    waited: float = 0.0
    age: float = 0.0
    instance: bytes = b""
    guarded: bool | None = None
    configured: tuple[InboundRule, ...] = ()

    @property
    def whole(self) -> Metadata | None:
        """It with the rules of the configuration; None if there is neither."""
        if self.metadata is None and not self.configured:
            return None
        return merged(self.metadata or Metadata(), self.configured)

    @property
    def lb(self) -> Facts | None:
        """What follows from it; None if there is no load balancer, and no rule is configured."""
        whole = self.whole
        return derive(whole) if whole else None

    @property
    def azures(self) -> bool:
        """Whether Azure gave it, be it once."""
        return self.source == "cache" or self.attempts > 0


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
        given = os.environ.get("CREDENTIALS_DIRECTORY", "")
        uuid = _uuid(Path(self.settings.paths.identity)) or _uuid(Path(given, _CREDENTIAL))
        return Identity(uuid=uuid, machine_id=self.machine.machine_id())

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


def from_file(name: str, read_stdin: Callable[[], bytes]) -> Answer:
    """The answer in a file; `-` is standard input. Where there is no such file, the name of a
    body that ships with the package is that body.

    Raises `UsageError` if it can't be read, `MetadataError` if it must not be acted on.
    """
    try:
        body = read_stdin() if name == "-" else _read_some(Path(name))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        if name not in BODIES or not missing:
            near = nearest(name, BODIES) if missing else ""
            raise UsageError(
                f"--metadata {name}: {error.strerror}{near}",
                hint="give a file, or - for standard input",
            ) from None
        body = shipped(f"{name}.json")
    if len(body) > MOST_BYTES:
        raise UsageError(f"--metadata {name}: longer than {MOST_BYTES // 1024 // 1024} MiB")
    return Answer(metadata=parse(body), source="file")


def _read_some(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MOST_BYTES + 1)


def describe_age(seconds: float) -> str:
    """An age in words, to one unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


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
