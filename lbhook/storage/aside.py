"""What can't be understood goes out of the way, and stays for somebody to look at."""

from pathlib import PurePosixPath

from .files import Tree

DAMAGED = ".damaged"
# The newest takes the place of the last of them: a disk that damages files each day fills none.
_MOST = 9


def free_name(tree: Tree, path: PurePosixPath) -> PurePosixPath:
    """Where something at a path can be moved to."""
    there = tree.names(path.parent)
    names = [f"{path.name}{DAMAGED}", *(f"{path.name}{DAMAGED}.{at}" for at in range(2, _MOST + 1))]
    return path.with_name(next((one for one in names if one not in there), names[-1]))


def names(tree: Tree, path: PurePosixPath) -> list[PurePosixPath]:
    """What was moved away from a path."""
    begin = f"{path.name}{DAMAGED}"
    found = [one for one in tree.names(path.parent) if one == begin or one.startswith(f"{begin}.")]
    return [path.with_name(one) for one in found]


def moved(tree: Tree, path: PurePosixPath) -> PurePosixPath:
    """Move it, file, link or directory, and say where it is now."""
    place = free_name(tree, path)
    # A directory takes no other one's place.
    if tree.is_directory(place):
        tree.remove_directory(place)
    else:
        tree.remove(place)
    tree.move(path, place)
    return place


def unless_directory(tree: Tree, path: PurePosixPath) -> None:
    """Move what stands where a directory of lbhook's own is to be."""
    if not tree.is_directory(path):
        moved(tree, path)
