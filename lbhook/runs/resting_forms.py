"""Resting forms that an installation puts down, before there is any answer; and which files are
at rest."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..config import permissions
from ..config.settings import Settings
from ..config.shipped import kind_of
from ..config.targets import Target
from ..plan import Change, FileState, compare
from ..planning.orphans import rests
from ..programs.host import Host
from ..rendering.render import renderer


def lay(host: Host, settings: Settings) -> tuple[Change, ...]:
    """Put down each missing file that another program fails without: those of the targets that
    are on, and in any case what an `include` may name before the target is on. What is there
    stays, and nothing is loaded. Raises `LbhookError`."""
    permissions.demand(settings)
    wanted = [one for one in settings.targets if _is_needed(one)]
    with host.locked(settings.paths.runtime):
        _make_places(host, settings)
        return tuple(
            _laid(host, target, form)
            for target, form in _forms(settings, wanted)
            if host.tree.state(target.path) is None
        )


def at_rest(host: Host, settings: Settings) -> Mapping[PurePosixPath, str]:
    """The files of all known targets that are in their resting form, each with its digest."""
    forms = {target.path: form for target, form in _forms(settings, settings.targets)}
    found = {path: host.tree.state(path) for path in forms}
    return {
        path: state.digest
        for path, state in found.items()
        if state and rests(state.content, forms[path].content)
    }


def _is_needed(target: Target) -> bool:
    kind = kind_of(target)
    return kind.named and (target.enabled or bool(kind.context))


def _make_places(host: Host, settings: Settings) -> None:
    """The directories of shipped targets whose programs are here: lbhook's units may write only
    into those that are there when they start."""
    for place in (one.path.parent for one in settings.targets if one.kind):
        if host.tree.outside(place.parent).is_dir():
            host.tree.make_directory(place)


def _forms(settings: Settings, targets: Sequence[Target]) -> Iterator[tuple[Target, FileState]]:
    templates = renderer([Path(str(place)) for place in settings.paths.templates])
    for target in targets:
        yield target, FileState(content=templates.rest(target), mode=target.mode)


def _laid(host: Host, target: Target, form: FileState) -> Change:
    uid, gid = host.tree.owner(target.path, target.owner, target.group)
    form = form._replace(uid=uid, gid=gid)
    host.tree.stage(target.path, form)
    host.tree.replace(target.path)
    return compare(target, form, None, written=None, live=False)
