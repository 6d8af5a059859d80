"""What the doctor knows before the first check, and what a check may find."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..config.settings import Settings
from ..errors import LbhookError
from ..memory.drains import Drained
from ..metadata.facts import Facts
from ..plan import Plan
from ..programs.host import Host
from ..traffic.paths import Picture
from ..traffic.routes import Routes


class Level(enum.Enum):
    """How much it matters: something is wrong; nobody here can tell; good to know."""

    WRONG = "wrong"
    UNSURE = "unsure"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing, with its reason; `remedy` is what to do, empty if nothing is to be done."""

    text: str
    remedy: str = ""
    level: Level = Level.WRONG


def unsure(text: str, remedy: str = "") -> Finding:
    """What could not be looked at."""
    return Finding(text=text, remedy=remedy, level=Level.UNSURE)


def note(text: str) -> Finding:
    """What is no fault."""
    return Finding(text=text, level=Level.NOTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One machine: what Azure says, what an apply would do, where the traffic goes.

    `asked` says that IMDS was asked, `error` why there is no new answer, `absent` that there is
    no load balancer, `guarded` whether metadata is guarded (None if IMDS did not tell),
    `refusal` why there is no plan; `since_applied` are seconds since an answer was put in force,
    0 if none was; `drained` is a drain that is in force.
    """

    host: Host
    settings: Settings
    lb: Facts = field(default_factory=Facts)
    asked: bool = True
    error: LbhookError | None = None
    absent: bool = False
    guarded: bool | None = None
    plan: Plan = field(default_factory=Plan)
    refusal: LbhookError | None = None
    picture: Picture = field(default_factory=Picture)
    since_applied: float = 0.0
    drained: Drained | None = None

    @property
    def routes(self) -> Routes:
        """The routing of this machine."""
        return Routes(self.host.run)


# A check looks at one thing, changes nothing, and yields what is to be said of it.
Check = Callable[[Evidence], Iterable[Finding]]
