"""Where an answer comes from: IMDS, a hand-over, a file, what is kept; and what is said of it."""

import contextlib
from typing import TYPE_CHECKING

from ..context import Context
from ..errors import LbhookError, NoLoadBalancerError
from ..metadata.body import parse
from ..metadata.model import ABSENT, Metadata
from ..metadata.ranges import kind
from .answer import Answer, Fetched, describe_age
from .last_good import LastGood

if TYPE_CHECKING:
    from ..metadata.instance import Vm
    from ..metadata.planned import Plans
    from .handover import Handover


class Fetcher:
    """Asks for one host."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def ask(self) -> Fetched:
        """The answer in force. Raises `LbhookError` if there is none that may be acted on."""
        fetched = self._find()
        fetched = fetched._replace(
            answer=fetched.answer._replace(configured=self.last_good.configured)
        )
        answer = fetched.answer
        if self.context.options.require_lb:
            _demand_load_balancer(answer)
        self._warn_of(answer.metadata)
        fetched = fetched._replace(vm=self.vm(answer))
        return (
            _as_planned(fetched, self.context.options.plans)
            if self.context.options.plans
            else fetched
        )

    def handed(self) -> Fetched | None:
        """What was handed over to a run that asks nobody, even now; None if nothing was."""
        with contextlib.suppress(LbhookError):
            return self._taken() if self.context.options.cached else None
        return None

    def hand_over(self, fetched: Fetched) -> None:
        """Leave an answer for a run of `apply --cached` that has more rights than this one."""
        from .handover import Handed

        self.handover.leave(
            Handed(
                body=fetched.body,
                instance=fetched.answer.instance,
                read=fetched.read,
                attempts=fetched.answer.attempts,
                waited=fetched.answer.waited,
                guarded=fetched.answer.guarded,
                events=fetched.events,
            )
        )

    @property
    def handover(self) -> "Handover":
        """Where answers are handed over on this host."""
        from .handover import Handover

        return Handover(self.context.host.tree, self.context.settings.paths)

    @property
    def last_good(self) -> LastGood:
        """The last good answer of this host."""
        return LastGood(self.context.host.tree, self.context.settings, self.context.host.machine)

    def vm(self, answer: Answer) -> "Vm | None":
        """The VM as an answer has it; None unless the configuration asks for it."""
        if not self.context.settings.imds.instance or not answer.instance:
            return None
        from ..metadata import instance

        vm, warnings = instance.parse(answer.instance, self.context.host.machine.interfaces())
        for warning in warnings:
            self.context.reporter.warn(warning)
        return vm

    def warn_of_age(self, answer: Answer) -> None:
        """Say that a last good answer is old, if it is."""
        if answer.age > self.context.settings.imds.stale_after:
            age = describe_age(answer.age)
            self.context.reporter.warn(
                f"the last good answer is {age} old, older than imds.stale_after"
            )

    def _find(self) -> Fetched:
        if self.context.options.metadata is not None:
            from . import body_file

            answer = body_file.read(self.context.options.metadata, self.context.read_stdin)
            return Fetched(answer=answer, body=None, read=self.context.boottime())
        if self.context.options.cached:
            return self._taken() or self._remembered()
        from .question import Question

        return Question(self.context, self.last_good).answer()

    def _taken(self) -> Fetched | None:
        """What `fetch` handed over in this boot, unless a later answer was applied since."""
        now = self.context.boottime()
        try:
            handed = self.handover.take(now)
        except LbhookError as error:
            self.context.reporter.warn(str(error))
            return None
        applied = self.context.host.state.applied(now)
        if handed is None or handed.read < applied:
            return None
        answer = Answer(
            metadata=None if handed.body is None else parse(handed.body),
            source="imds" if handed.read > applied else "cache",
            attempts=handed.attempts,
            waited=handed.waited,
            age=now - handed.read,
            instance=handed.instance,
            guarded=handed.guarded,
        )
        self.warn_of_age(answer)
        return Fetched(*(answer, handed.body, handed.read), news=True, events=handed.events)

    def _remembered(self) -> Fetched:
        """The last good answer, which is as old as what was applied last."""
        read = self.context.host.state.applied(self.context.boottime())
        answer = self.last_good.load()
        self.warn_of_age(answer)
        return Fetched(answer=answer, body=None, read=read)

    def _tell_private(self, metadata: Metadata) -> None:
        """Once: what the last good answer has as well is nothing new."""
        addresses = ", ".join(
            f"{one.frontend_ip} ({kind(one.frontend_ip)})" for one in metadata.private_ips
        )
        text = f"loadbalancer.publicIpAddresses: {addresses}: not public; listed as private_ips"
        last = self.last_good.find()
        known = last and last.metadata and last.metadata.private_ips == metadata.private_ips
        (self.context.reporter.log if known else self.context.reporter.warn)(text)

    def _warn_of(self, metadata: Metadata | None) -> None:
        if metadata:
            if metadata.private_ips:
                self._tell_private(metadata)
            for warning in metadata.warnings:
                self.context.reporter.warn(warning)
            for path in metadata.unknown:
                self.context.reporter.log(f"{path}: unknown key; it is ignored")


def _as_planned(fetched: Fetched, plans: "Plans") -> Fetched:
    """What the answer will be; nothing that is to be kept."""
    from ..metadata.planned import carry_out

    metadata, planned = carry_out(plans, fetched.answer.metadata or Metadata())
    answer = fetched.answer._replace(metadata=metadata)
    return fetched._replace(answer=answer, body=None, planned=planned)


def _demand_load_balancer(answer: Answer) -> None:
    if answer.metadata and answer.metadata.has_load_balancer:
        return
    why = "IMDS has no rule and no tunnel for this VM" if answer.metadata else ABSENT
    error = NoLoadBalancerError(
        f"no load balancer, and --require-lb is set: {why}",
        hint="put its NIC into a backend pool of a Standard load balancer",
    )
    error.attempts, error.waited, error.guarded = answer.attempts, answer.waited, answer.guarded
    raise error
