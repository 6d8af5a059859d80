"""The rooms: who imports whom, who may touch what, and what a start has to load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .program import BODIES, ENVIRONMENT, REPO

PACKAGE = REPO / "lbhook"
# From the lowest to the highest: a room imports only from those before it.
ORDER = [
    *("errors", "schema", "net", "reader", "model", "instance", "facts"),
    *(
        "accounts",
        "targets",
        "shipped",
        "tables",
        "config",
        "rights",
        "ingredients",
        "mistakes",
        "sandbox",
        "render",
        "plan",
    ),
    *(
        "commands",
        "endings",
        "machine",
        "kernel",
        "firewall",
        "daemon",
        "firewalld",
        "nginx",
        "services",
        "haproxy",
    ),
    *("layout", "planned", "sources", "trace", "report", "lock"),
    *("directory", "files", "journal", "records", "state", "host", "floating"),
    *("expressions", "ruleset", "routes", "traffic", "view", "page", "hooks"),
    *("verdict", "transport", "imds", "confirmation", "samples", "answer", "handover", "inquiry"),
    *("aim", "making", "checks", "verification", "loading", "dropped", "overlaps", "survey"),
    *("putback", "outcome", "deploy", "course", "settlement", "metrics", "aftermath"),
    *("notify", "restoration", "foresight", "attempt", "update", "undo", "resting", "completion"),
    "installation",
    *("case", "approach", "upkeep", "arrival", "doctor"),
    *("console", "run", "assembly", "options"),
    *("replies", "step", "playbook", "listener", "wire", "emulator", "demo"),
    *("cli_look", "cli_apply", "cli_install", "cli_try", "cli", "program"),
]
# What only these rooms import, whoever else would like to.
ALONE = {
    "requests": {"transport"},
    "urllib3": {"transport"},
    "jinja2": {"sandbox", "render", "trace"},
    "subprocess": {"commands"},
    "click": {
        *("completion", "console", "run", "options"),
        *("cli_look", "cli_apply", "cli_install", "cli_try", "cli", "program"),
    },
    "fcntl": {"lock"},
    "socket": {"kernel", "transport", "notify", "listener", "emulator"},
}
ROOMS = sorted(file.stem for file in PACKAGE.glob("*.py") if not file.stem.startswith("__"))


def imports(tree: ast.AST) -> tuple[set[str], set[str]]:
    """The rooms and the foreign packages that a module imports, wherever in it."""
    rooms: set[str] = set()
    foreign: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            foreign |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            named = [node.module] if node.module else [alias.name for alias in node.names]
            rooms |= {name.partition(".")[0] for name in named}
        elif isinstance(node, ast.ImportFrom):
            foreign.add((node.module or "").partition(".")[0])
    return rooms - {"__version__"}, foreign


def of(room: str) -> tuple[set[str], set[str]]:
    """What a room imports."""
    return imports(ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8")))


def test_imports_are_found_wherever_they_are() -> None:
    """The walk itself sees imports inside functions, under conditions and under other names."""
    source = """
import a.b as c
from d.e import f
def g():
    from . import h, i as j
    if True:
        from .k import l
"""
    assert imports(ast.parse(source)) == ({"h", "i", "k"}, {"a", "d"})


def test_every_module_has_its_row() -> None:
    """A new module gets a row here and in docs/architecture.md before it gets code."""
    assert sorted(ORDER) == ROOMS


def test_the_documentation_has_the_same_rows() -> None:
    """The table of docs/architecture.md is this order."""
    text = (REPO / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| .+ \| .*\|$", text, re.MULTILINE)
    assert rows == ["room", *ORDER]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room: str) -> None:
    """A room knows only of those below it."""
    below = set(ORDER[: ORDER.index(room)])
    assert of(room)[0] - below == set()


@pytest.mark.parametrize("package", ALONE)
def test_what_one_room_alone_may_touch(package: str) -> None:
    """HTTP, templates, processes and the terminal each have their room."""
    assert {room for room in ROOMS if package in of(room)[1]} == ALONE[package]


@pytest.mark.parametrize("room", ROOMS)
def test_packages_are_imported_from_outside_or_relatively(room: str) -> None:
    """Inside the package imports are relative."""
    assert "lbhook" not in of(room)[1]


def loaded(*args: str) -> set[str]:
    """Which of the heavy packages a command loads."""
    code = f"""
import sys
from lbhook import program
sys.argv = ["lbhook", *{list(args)!r}]
try:
    program.main()
except SystemExit as end:
    assert not end.code, end.code
heavy = ("requests", "urllib3", "jinja2", "difflib", "email", "socket")
heavy += ("lbhook.update", "lbhook.verdict", "lbhook.instance")
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return set(ast.literal_eval(done.stderr.decode().splitlines()[-1]))


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["apply", "--help"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    """Neither requests nor jinja2, nor a room that does something."""
    assert loaded(*args) == set()


def test_a_body_from_a_file_needs_no_http(tmp_path: Path) -> None:
    """An apply that asks nobody loads neither requests nor what else it takes to ask."""
    body = str(BODIES / "documented.json")
    names = loaded("apply", "--metadata", body, "--root", str(tmp_path))
    assert names == {"jinja2", "lbhook.update"}


def test_an_unchanged_answer_needs_no_templates(tmp_path: Path) -> None:
    """What is in step is recognised by what it was made of."""
    words = ("apply", "--metadata", str(BODIES / "documented.json"), "--root", str(tmp_path))
    loaded(*words)
    assert loaded(*words) == {"lbhook.update"}
