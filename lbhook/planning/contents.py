"""What is to be in each target's file, with what its owner and this machine add to the target."""

from pathlib import Path

from ..config.settings import Settings
from ..config.snippets import with_snippets
from ..config.targets import Target
from ..errors import ConfigError
from ..judging import failed_start
from ..judging.listeners import Listeners
from ..metadata import restricted
from ..plan import FileState
from ..programs import nftables, sshd
from ..programs.host import Host
from ..rendering.cache import RenderCache, Rendered
from . import orphans
from .recorded import Recorded
from .scope import Scope


class Contents:
    """The contents that one plan asks for. `warnings`, `problems` and `left_out` are the plan's."""

    def __init__(
        self,
        host: Host,
        settings: Settings,
        scope: Scope,
        cache: RenderCache,
        recorded: Recorded,
        listeners: Listeners,
    ) -> None:
        self.host = host
        self.settings = settings
        self.scope = scope
        self.cache = cache
        self.recorded = recorded
        self.listeners = listeners
        self.warnings: list[str] = []
        self.problems: list[str] = []
        self.left_out: list[str] = []

    def target(self, target: Target, actual: FileState | None) -> Target:
        """A target with its owner's snippets, and with where sshd listens."""
        return self._observed(self._with_snippets(target, actual))

    def expected(
        self, target: Target, actual: FileState | None, ours: bool
    ) -> tuple[FileState | None, Rendered | None]:
        """The file as it is to be, and what was made for it."""
        if self.scope is Scope.CLEAN and ours:
            original = self.host.state.original(target.path)
            if original:
                return original, None
        try:
            made = self._made(target, actual, ours)
        except ConfigError:
            record = self.recorded.of(target)
            if self.scope not in (Scope.REST, Scope.CLEAN) or record is None:
                raise
            # As if it were dropped: what is at rest, or gone, holds nothing of a former answer.
            return orphans.resting(record), None
        if made is None:
            return actual, None
        uid, gid = self.host.tree.owner(target.path, target.owner, target.group)
        return FileState(content=made.content, mode=target.mode, uid=uid, gid=gid), made

    def _made(self, target: Target, actual: FileState | None, ours: bool) -> Rendered | None:
        """What is to be in the file; None if it is to stay as it is."""
        lb = self.cache.lb
        stays = {
            Scope.WHOLE: False,
            Scope.MISSING: actual is not None,
            # Rendered only where it is asked for.
            Scope.CONFIGURED: self.scope is Scope.CONFIGURED
            and actual
            and not self._rests(target, actual),
            Scope.REST: not ours,
            Scope.CLEAN: not ours,
            Scope.LOAD: True,
        }
        if stays[self.scope]:
            return self._moved(target, actual) if self.scope is Scope.MISSING else None
        if self.scope in (Scope.REST, Scope.CLEAN) or lb is None:
            return self.cache.rest(target)
        if self.host.live:
            nftables.demand_no_kubelet(target, self.host.machine)
        failed = failed_start.found(self.host, target, actual, self.recorded.of(target))
        if failed:
            self.problems.append(f"{target.name}: {failed}")
            return self.cache.rest(target)
        here, left_out, notes = self.listeners.here(target, lb)
        self.warnings += notes
        restrict = target.vars.get("restrict", ()) if target.kind else ()
        sshd_ports = [one["port"] for one in target.vars.get("sshd", ())] if restrict else []
        odd = restricted.doubts(restrict, lb, sshd_ports)
        self.warnings += [f"{target.name}: {one}" for one in odd]
        before = self._before(target, actual)
        made_of = (self.cache.made_of, left_out)
        judged = self.listeners.known(target, here, made_of)
        if not judged or not self.cache.recognises(judged.target, (*left_out, judged.mark), before):
            judged = self.listeners.judged(target, here, made_of)
        self.warnings += judged.notes
        self.left_out += judged.notes
        return self.cache.make(judged.target, judged.lb, (*left_out, judged.mark), before)

    def _moved(self, target: Target, actual: FileState | None) -> Rendered | None:
        """A firewall that differs from what is there by new places of sshd alone: an operator is
        to come in, answer or not."""
        record = self.recorded.of(target)
        now = [one["text"] for one in target.vars.get("sshd", ())]
        if not (record and actual and self.cache.lb) or {*now} <= {*record.sshd}:
            return None
        known = sshd.recorded(record.sshd)
        before = target._replace(vars={**target.vars, "sshd": known})
        same = self.cache.make(before, self.cache.lb, (), None).content == actual.content
        return self.cache.make(target, self.cache.lb, (), None) if same else None

    def _before(self, target: Target, actual: FileState | None) -> Rendered | None:
        """What is there, as it was made: in this boot, or before."""
        record = self.recorded.of(target)
        if not record:
            return None
        content = actual.content if actual else self.host.state.copy(target.path)
        if content is None:
            return None
        made_of = self.recorded.made_of.get(str(target.path)) or record.made_of
        return Rendered(content, record.resting, made_of)

    def _with_snippets(self, target: Target, actual: FileState | None) -> Target:
        """A firewall with what its owner adds. Where it is only to be there again, what is wrong
        with that does not keep it from being loaded as it is."""
        if self.scope not in (Scope.WHOLE, Scope.CONFIGURED, Scope.MISSING):
            return target
        try:
            return with_snippets(target, Path(str(self.settings.paths.snippets)))
        except ConfigError:
            if self.scope is Scope.MISSING and actual:
                return target
            raise

    def _observed(self, target: Target) -> Target:
        """A firewall with the places where sshd listens that its settings do not open. Without an
        answer none is closed."""
        if not (self.host.live and sshd.follows(target)):
            return target
        record = self.recorded.of(target)
        known, keep = record.sshd if record else (), self.scope is Scope.MISSING
        sockets = self.host.machine.listening()
        places = sshd.places(self.host.machine, self.host.run, sockets, known, keep=keep)
        more = tuple(one for one in places if one["port"] not in target.vars["ssh_ports"])
        return target._replace(vars={**target.vars, "sshd": more}) if more else target

    def _rests(self, target: Target, actual: FileState) -> bool:
        return orphans.rests(actual.content, self.cache.rest(target).content)
