"""The answer in force, wherever it is from, and what a run got when it asked for it."""

from typing import TYPE_CHECKING, NamedTuple

from ..metadata.configured import merged
from ..metadata.facts import Facts, derive
from ..metadata.model import InboundRule, Metadata

if TYPE_CHECKING:
    from ..metadata.instance import Vm


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


class Fetched(NamedTuple):
    """An answer, and its body if it is one to be kept. `read` is when it was read, in seconds of
    this boot; `vm` what `/metadata/instance` says, if it is to be asked; `planned` in which rules
    the answer is not what Azure says, but what is planned. `news` says that IMDS has said so in
    this run, or in the one that handed it over; `events` is the body of
    `/metadata/scheduledevents`, None if there is none."""

    answer: Answer
    body: bytes | None
    read: float
    vm: "Vm | None" = None
    planned: tuple[str, ...] = ()
    news: bool = False
    events: bytes | None = None


def describe_age(seconds: float) -> str:
    """An age in words, to one unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
