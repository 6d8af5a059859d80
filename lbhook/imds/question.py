"""One question to IMDS: how long it is asked, what more is asked for, and when an answer is asked
for again. It imports requests, and is itself imported only where IMDS is asked."""

from ..context import Context
from ..errors import LbhookError, ProtocolError
from ..metadata import events
from ..metadata.body import parse
from ..metadata.model import ABSENT, NOTHING, Metadata
from . import client, confirmation
from .answer import Answer, Fetched
from .guard import PROGRAM, Agent
from .last_good import LastGood


class Question:
    """What one host asks."""

    def __init__(self, context: Context, last_good: LastGood) -> None:
        self.context = context
        self.last_good = last_good

    def answer(self) -> Fetched:
        """What IMDS says now. Raises `LbhookError` if it gives no answer that may be acted on."""
        self._demand_azure()
        last = self.last_good.find(self.context.reporter.warn)
        service = self._service(last)
        reading = service.fetch()
        if self._is_silent(reading.metadata) and self._would_surprise(last):
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

    def _events(self, service: client.Service, reading: client.Reading) -> bytes | None:
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
        service: client.Service,
        reading: client.Reading,
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

    def _service(self, last: Answer | None) -> client.Service:
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

    def _find_agent(self) -> Agent | None:
        """The agent of guarded metadata on this machine."""
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
