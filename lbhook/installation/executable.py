"""The program that units are to start: which one it is, and whether they can."""

import importlib.util
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..config import permissions
from ..config.permissions import open_to_all
from ..errors import RightsError, UsageError
from ..processes import Run
from ..programs.unit_limits import HOMES, USER
from . import single_file

# What lbhook imports, with what that needs.
_PACKAGES = (
    *("lbhook", "click", "jinja2", "markupsafe", "requests", "urllib3", "idna", "certifi"),
    *("charset_normalizer", "chardet", "tomli"),
)
SINGLE_FILE = PurePosixPath("/usr/local/bin/lbhook")
_HINT = "install it where only root can: python3 -m venv /opt/lbhook"
_SINGLE_HINT = "start it with a Python that is elsewhere: /usr/bin/python3 lbhook.pyz install"
_BARE_HINT = (
    "units start it without this shell's environment, such as PYTHONPATH: install it into a"
    " virtual environment: python3 -m venv /opt/lbhook"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """What units are to start: where it is, what makes the content that is installed there if it is
    the single file, and what else they would run."""

    path: PurePosixPath
    single: Callable[[], bytes] | None = None
    parts: tuple[Path, ...] = ()


def running(*, live: bool) -> Executable:
    """The program that runs. Raises `UsageError` if units could not start it."""
    archive = Path(__file__).parents[2]
    python = Path(sys.executable)
    if archive.is_file():
        # The one that runs it now: this machine's `python3` may be another, and too old.
        named = str(python) if live else ""
        return Executable(
            path=SINGLE_FILE,
            single=lambda: single_file.compiled(archive, SINGLE_FILE, named),
            parts=(python,),
        )
    found = shutil.which(sys.argv[0])
    if not found:
        hint = "start it as `lbhook`, by the name that pip gave it"
        raise UsageError(f"{sys.argv[0]}: not a program that a unit could start", hint=hint)
    path = Path(found).absolute()
    return Executable(path=PurePosixPath(path), parts=(path, python, *_packages()))


def demand(executable: Executable, run: Run) -> None:
    """Raise `RightsError` unless units of this machine can run it, and nobody but root can write
    it; with every problem. Raise `UsageError` if it does not start as they start it."""
    for part in (*executable.parts, *(one.resolve() for one in executable.parts)):
        _demand_roots(part)
        _demand_outside(part, _SINGLE_HINT if executable.single else _HINT)
    problems = dict.fromkeys(one for part in executable.parts for one in unreadable(part))
    if problems:
        hint = f"lbhook-fetch.service runs it as the user {USER}, who must be able to read it"
        raise RightsError(*problems, hint=hint)
    if executable.single:
        return
    started = run((str(executable.path), "--version"))
    if not started.ok:
        raise UsageError(started.report(), hint=_BARE_HINT)


def _packages() -> Iterator[Path]:
    """Where what lbhook imports is."""
    for name in _PACKAGES:
        found = importlib.util.find_spec(name)
        if found and found.origin:
            yield Path(found.origin).parent


def _demand_roots(part: Path) -> None:
    for path in (part, *part.parents):
        if permissions.problem(path):
            raise RightsError(
                f"{path}: others than root can write it, and units would run it as root",
                hint=_HINT,
            )


def _demand_outside(part: Path, hint: str) -> None:
    for home in HOMES:
        if part.is_relative_to(home):
            problem = f"{part}: lbhook's units see nothing below {home} (ProtectHome=yes)"
            raise RightsError(problem, hint=hint)


def unreadable(part: Path) -> Iterator[str]:
    """What keeps others from reading a part, with the command that fixes it: one for a whole
    virtual environment, and for a package of which more than one file is closed."""
    prefix = Path(sys.prefix)
    is_venv = sys.prefix != sys.base_prefix
    closed = [one for one in part.parents if not open_to_all(one, entered=True)]
    inside = [one for one in (part, *part.rglob("*.py")) if not open_to_all(one)]
    closed += [part] if len(inside) > 1 else inside
    for path in closed:
        whole = is_venv and path.is_relative_to(prefix)
        place = prefix if whole else path
        options = "-R " if whole or (path == part and len(inside) > 1) else ""
        command = f"chmod {options}go+rX {shlex.quote(str(place))}"
        yield f"{place}: others than root can't read it; run `{command}`"
