"""Paths that links lead to one file: two targets', or a target's and lbhook's own. Nothing in the
configuration shows it, and each would undo the other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from ..config.settings import Settings
from ..config.targets import Target
from ..memory.records import Installed
from ..storage.files import Tree


def found(tree: Tree, settings: Settings) -> Mapping[PurePosixPath, str]:
    """What is wrong, by the path of each target that it is wrong with."""
    there: dict[PurePosixPath, list[Target]] = {}
    for target in settings.active():
        there.setdefault(tree.place(target.path), []).append(target)
    return {
        target.path: problem
        for place, those in there.items()
        for problem in _problems(tree, settings, place, those)
        for target in those
    }


def others(
    tree: Tree, settings: Settings, installed: Mapping[str, Installed]
) -> Iterator[tuple[str, Installed]]:
    """What is installed, but for records of a file that is a target's or another record's by
    another path."""
    taken = {tree.place(one.path): str(one.path) for one in settings.active()}
    for path, record in installed.items():
        if taken.setdefault(tree.place(PurePosixPath(path)), path) == path:
            yield path, record


def once(tree: Tree, targets: Iterable[Target]) -> Iterator[Target]:
    """The targets, of each file the first."""
    seen: set[PurePosixPath] = set()
    for target in targets:
        place = tree.place(target.path)
        if place not in seen:
            seen.add(place)
            yield target


def _problems(
    tree: Tree, settings: Settings, place: PurePosixPath, those: Sequence[Target]
) -> Iterator[str]:
    paths, textfile = settings.paths, settings.metrics.textfile
    state, runtime = (tree.place(one / "x").parent for one in (paths.state, paths.runtime))
    own = paths._replace(state=state, runtime=runtime)
    named = [f"{one.path} of {one.name}" for one in those]
    if textfile and place == tree.place(textfile):
        named.append(f"{textfile} of metrics.textfile")
    if len(named) > 1:
        yield f"links lead {' and '.join(named)} to one file, {tree.outside(place)}"
    elif own.are_at(place):
        yield f"links lead {named[0]} to {tree.outside(place)}, which belongs to lbhook"
