"""The walk from the metadata service to the listening socket: what is wrong, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import LbhookError, UsageError, together
from ..imds.answer import Fetched
from ..layout import count, wrapped
from ..levers.drain import Drain
from ..metadata.facts import Facts
from ..plan import Plan
from ..programs import nftables
from ..runs.update import Update
from ..traffic import paths
from . import (
    container_checks,
    firewall_checks,
    imds_checks,
    platform_checks,
    target_checks,
    traffic_checks,
    unit_checks,
)
from .findings import Check, Evidence, Finding, Level

VERSION = 1
# How long IMDS is asked if nobody says: somebody is waiting.
PATIENCE = 5.0
# In the order of the way. What looks at the machine is not asked below --root.
_WAY: Mapping[str, Sequence[Check]] = {
    "Azure": imds_checks.CHECKS,
    "Targets": target_checks.CHECKS,
    "Units": unit_checks.CHECKS,
    "Traffic": (
        *(*traffic_checks.CHECKS, *platform_checks.CHECKS),
        *(*firewall_checks.CHECKS, *container_checks.CHECKS),
    ),
}
_ANYWHERE = ("Azure", "Targets")
_SIGNS = {Level.WRONG: "!", Level.UNSURE: "?", Level.NOTE: "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found at each place of the way."""

    places: Mapping[str, tuple[Finding, ...]]

    @property
    def wrong(self) -> int:
        """How many things are wrong."""
        found = (one for findings in self.places.values() for one in findings)
        return sum(one.level is Level.WRONG for one in found)

    def to_json(self) -> dict[str, Any]:
        """The value of `doctor --json`."""
        findings = [
            {"place": place.lower(), "level": one.level.value, "text": one.text}
            | {"remedy": one.remedy}
            for place, found in self.places.items()
            for one in found
        ]
        return {"version": VERSION, "wrong": self.wrong, "findings": findings}

    def to_text(self, *, notes: bool) -> str:
        """A heading for each place, its findings below, and how many things are wrong."""
        lines: list[str] = []
        for place, found in self.places.items():
            said = [one for one in found if notes or one.level is not Level.NOTE]
            well = all(one.level is Level.NOTE for one in found)
            lines += [f"{place:<9}ok" if well else place]
            lines += [line for one in said for line in _lines(one)]
        ending = "is" if self.wrong == 1 else "are"
        end = f"{count(self.wrong, 'thing')} {ending} wrong" if self.wrong else "Nothing is wrong"
        return "".join(f"{line}\n" for line in (*lines, "", f"{end}."))


def examine(update: Update) -> Diagnosis:
    """Walk the whole way; one thing that is wrong is no reason not to look at the next."""
    evidence = _evidence(update)
    places = _WAY if update.context.host.live else {name: _WAY[name] for name in _ANYWHERE}
    return Diagnosis(
        places={
            name: tuple(dict.fromkeys(one for check in checks for one in check(evidence)))
            for name, checks in places.items()
        }
    )


def _evidence(update: Update) -> Evidence:
    host, options = update.context.host, update.context.options
    fetched, error = _asked(update)
    known = fetched or update.remembered()
    plan, refusal = _planned(update, known)
    lb = (known.answer.lb if known else None) or Facts()
    restrict = nftables.restrictions(update.context.settings.active())
    return Evidence(
        host=host,
        settings=update.context.settings,
        lb=lb,
        asked=options.metadata is None and not options.cached,
        error=error,
        guarded=fetched.answer.guarded if fetched else getattr(error, "guarded", None),
        absent=bool(fetched and fetched.answer.metadata is None),
        plan=plan,
        refusal=refusal,
        picture=(
            paths.seen(lb, host, restrict=restrict) if host.live else paths.rules_only(lb, restrict)
        ),
        since_applied=update.since_applied(),
        drained=Drain(update.context).known() if host.live else None,
    )


def _asked(update: Update) -> tuple[Fetched | None, LbhookError | None]:
    try:
        return update.ask(), None
    except UsageError:
        raise
    except LbhookError as error:
        return None, error


def _planned(update: Update, fetched: Fetched | None) -> tuple[Plan, LbhookError | None]:
    """What an apply would do; nothing without an answer."""
    if not fetched:
        return Plan(), None
    try:
        plan = update.plan(fetched)
    except LbhookError as error:
        return Plan(), error
    return plan, together(plan.failures) if plan.failures else None


def _lines(finding: Finding) -> Iterator[str]:
    """The reason, and further in what to do; what a command printed stays as it is."""
    yield wrapped(finding.text, f"{_SIGNS[finding.level]} ")
    if finding.remedy:
        yield wrapped(finding.remedy, "    ", "    ")
