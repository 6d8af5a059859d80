"""One question: where the answer comes from, how long it is waited for, and what is said of it."""

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from ..context import Context
from ..errors import LbhookError, NoLoadBalancerError, ProtocolError
from ..metadata import events
from ..metadata.model import ABSENT, NOTHING, Metadata, parse
from ..metadata.ranges import kind
from .last_good import Answer, LastGood, describe_age, from_file

if TYPE_CHECKING:
    from ..metadata.instance import Vm
    from ..metadata.planned import Plans
    from . import client
    from .guard import Agent
    from .handover import Handover


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
            answer = from_file(self.context.options.metadata, self.context.read_stdin)
            return Fetched(answer=answer, body=None, read=self.context.boottime())
        if self.context.options.cached:
            return self._taken() or self._remembered()
        return self._ask_imds()

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

    def _ask_imds(self) -> Fetched:
        self._demand_azure()
        last = self.last_good.find(self.context.reporter.warn)
        service = self._service(last)
        reading = service.fetch()
        if self._is_silent(reading.metadata) and self._would_surprise(last):
            from . import confirmation

            reading = confirmation.confirm(service, reading, self._is_silent)
        if reading.metadata is None and self.context.settings.imds.absent == "empty":
            # In force from now on, and kept: a boot without an answer must not bring back more.
            self.context.reporter.warn(f"no load balancer: {ABSENT}")
            reading = reading._replace(body=NOTHING, metadata=parse(NOTHING))
        said, instance = self._events(service, reading), b""
        if self.context.settings.imds.instance or (said is not None and events.takes_a_name(said)):
            instance = self._instance(service, reading, last, third=self._asks_events)
        answer = Answer(
            metadata=reading.metadata,
            source="imds",
            attempts=reading.attempts,
            waited=reading.waited,
            instance=instance,
            guarded=reading.guarded,
        )
        kept = reading.body if reading.metadata else None
        return Fetched(*(answer, kept, self.context.boottime()), news=True, events=said)

    @property
    def _asks_events(self) -> bool:
        return self.context.options.levers and self.context.settings.drain.scheduled_events

    def _events(self, service: "client.Service", reading: "client.Reading") -> bytes | None:
        """What is scheduled for this VM and its neighbours, for a run that obeys it."""
        if not self._asks_events:
            return None
        try:
            return service.events(reading)
        except LbhookError as error:
            problem = "; ".join(error.problems)
            self.context.reporter.warn(f"{events.PATH}: {problem}; nothing follows from it")
            return None

    def _instance(
        self,
        service: "client.Service",
        reading: "client.Reading",
        last: Answer | None,
        *,
        third: bool,
    ) -> bytes:
        """What IMDS says of the VM itself; if it doesn't, what it said last."""
        try:
            return service.instance(reading, third=third)
        except LbhookError as error:
            said = last.instance if last else b""
            follows = "vm keeps its last value" if said else "vm is not defined"
            if not self.context.settings.imds.instance:
                follows = "whether a scheduled event is for this VM is not known"
            self.context.reporter.warn(
                f"/metadata/instance: {'; '.join(error.problems)}; {follows}"
            )
            return said

    def _demand_azure(self) -> None:
        if not self.context.settings.endpoint_named and not self.context.host.machine.is_azure():
            raise ProtocolError(
                "this machine is not an Azure VM: its chassis asset tag is not Azure's",
                hint="name a metadata service with --endpoint, or a body with --metadata",
            )

    def _service(self, last: Answer | None) -> "client.Service":
        # requests is imported for a question only: an answer from a file needs none of it.
        from . import client

        options = self.context.settings.imds
        wait = options.wait_cached if last else options.wait
        return client.Service(
            endpoint=options.endpoint,
            api_version=options.api_version,
            wait=wait if self.context.options.wait is None else self.context.options.wait,
            absent_wait=0.0 if self.context.options.wait == 0 else options.absent_wait,
            watch=self.context.reporter.watch,
            log=self.context.reporter.log,
            clock=self.context.clock,
            sleep=self.context.sleep,
            find_agent=self._find_agent,
        )

    def _find_agent(self) -> "Agent | None":
        """The agent of guarded metadata on this machine."""
        from .guard import PROGRAM, Agent

        path = self.context.host.find(PROGRAM) if self.context.host.live else None
        return Agent(self.context.host.run, path) if path else None

    def _is_silent(self, metadata: Metadata | None) -> bool:
        """Whether an answer would leave no inbound rule."""
        if metadata is None:
            return self.context.settings.imds.absent == "empty"
        return not metadata.inbound_rules

    def _would_surprise(self, last: Answer | None) -> bool:
        """Whether there were rules, and nobody said that they may go."""
        if self.context.options.accept_empty or self.context.settings.imds.empty_answer == "accept":
            return False
        return bool(last and last.metadata and last.metadata.inbound_rules)

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
