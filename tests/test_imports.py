"""The wings: who imports whom, who may touch what, and what a start has to load."""

import ast
import functools
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lbhook.emulator.server import Emulator

from .program import BODIES, ENVIRONMENT, REPO

PACKAGE = REPO / "lbhook"
# The house, from the lowest to the highest: a wing (a name with its modules), or a module that
# stands by itself. Each imports only from what stands before it; so do the modules of one wing.
HOUSE: dict[str, tuple[str, ...]] = {
    "errors": (),
    "accounts": (),
    "paths": (),
    "signals": (),
    "processes": (),
    "layout": (),
    "resources": (),
    "config": (
        *("nesting", "schema", "network", "targets", "restrictions", "snippets"),
        *("shipped", "toml_files", "rules"),
        *("target_tables", "settings", "json_schema", "permissions"),
    ),
    "metadata": (
        *("reader", "ranges", "model", "body", "instance", "events", "facts"),
        *("described", "planned", "configured", "restricted"),
    ),
    "plan": (),
    "system": (
        "sockets",
        "process_table",
        "netlink",
        "machine",
        "nlmsg",
        *("starters", "rights"),
        "sd_notify",
        "journald",
        "unit_properties",
        "transient_unit",
        "caller",
        "nft_chains",
    ),
    "storage": (
        *("lock", "directory", "disk_errors", "candidates", "files", "scratch", "aside"),
        *("scalars", "rows", "forms"),
    ),
    "memory": (
        *("journal_entries", "generations", "journal", "records", "record_forms", "places"),
        *("record_files", "state", "salvage", "drains"),
    ),
    "rendering": (
        *("fingerprint", "template_errors", "sandbox", "render", "provenance", "annotation"),
        "cache",
    ),
    "listening": (
        *("files", "nginx_directives", "nginx_config", "nginx_printed", "nginx_sockets", "taken"),
        "nginx_wrapper",
        *("nginx_verdict", "haproxy_config", "haproxy_start", "sshd_config", "lines"),
    ),
    "programs": (
        *("sshd", "nftables", "tunnels", "daemon", "firewalld", "systemd", "nginx", "haproxy"),
        *("check_warnings", "host", "floating_ip", "unit_limits", "boot_jobs"),
    ),
    "context": (),
    "imds": (
        *(
            "guard",
            "classification",
            "transport",
            "timetable",
            "client",
            "confirmation",
            "answer",
            "identity",
            "last_good",
            "body_file",
            "handover",
        ),
        *("question", "fetching"),
    ),
    "mirror": (
        *("nf_tables", "statements", "listing", "registers", "rule_copy", "elements", "replica"),
        *("surroundings", "namespace"),
    ),
    "firewall": (
        *("verdict", "packets", "legacy", "clients", "traces", "decisions", "trial", "kernel"),
    ),
    "traffic": (
        *(
            "routes",
            "paths",
            "cut",
            "diagram",
            "model_json",
            "html",
            "probes",
            "conntrack",
            "flows",
        ),
        *("remedies", "trace_marks", "fates", "trace"),
    ),
    "judging": (
        *("failed_start", "judged", "surroundings", "configurations", "permitted"),
        *("nginx_listeners", "haproxy_listeners", "listeners"),
    ),
    "planning": (
        *("scope", "recorded", "refusal", "validation", "verification", "one_file", "orphans"),
        *("contents", "conflicts", "groups", "planner", "closing", "dry_run"),
    ),
    "tables": ("table_file", "changes", "loading"),
    "deployment": (
        *(
            "outcome",
            "report",
            "plan_report",
            "candidates",
            "others",
            "reloads",
            "refusals",
            "revert",
            "ledger",
            "transaction",
        ),
        *("deployment", "closures", "recovery"),
    ),
    "levers": ("standstill", "reach", "drain", "upkeep", "azure"),
    "telling": ("history", "hooks", "traffic_metrics", "metrics", "publisher"),
    "runs": (
        *("progress", "fetch", "execution", "in_force", "undo"),
        *("unconfirmed", "update", "restoration", "resting_forms"),
    ),
    "installation": ("completion", "contents", "single_file", "executable", "installer"),
    "doctor": (
        *("findings", "imds_checks", "target_checks", "unit_checks", "traffic_checks"),
        *("platform_checks", "firewall_checks", "container_checks", "walk"),
    ),
    "emulator": (
        *("replies", "faults", "playbook", "script", "listener", "http", "service", "server"),
    ),
    "cli": (
        *("colour", "console", "invocation", "factory", "early_start", "work", "options"),
        *("demo", "main"),
    ),
    "commands": (
        *("apply", "plan", "show", "doctor", "fetch", "history"),
        *("restore", "rollback", "drain"),
        *("hold", "render", "install", "emulate"),
    ),
    "program": (),
}
# What only these modules import, whoever else would like to.
ALONE = {
    "requests": {"imds.transport"},
    "urllib3": {"imds.transport"},
    "jinja2": {"rendering.sandbox", "rendering.render", "rendering.annotation"},
    "subprocess": {"processes"},
    "click": {"installation.completion", "cli", "commands", "program"},
    "fcntl": {"storage.lock"},
    "socket": {
        *("system.netlink", "system.sd_notify", "system.journald", "imds.transport"),
        *("emulator.listener", "emulator.server"),
        *("system.nlmsg", "firewall.packets", "mirror.namespace", "firewall.trial"),
    },
}
# Shared by all, and what starts the program: neither is anybody's wing.
_FRAME = {"__init__", "__main__"}
_FILES = sorted(file for file in PACKAGE.rglob("*.py") if file.stem not in _FRAME)
MODULES = [".".join(file.relative_to(PACKAGE).with_suffix("").parts) for file in _FILES]
ORDER = [
    name
    for wing, modules in HOUSE.items()
    for name in ([f"{wing}.{module}" for module in modules] or [wing])
]
# As many as a person takes in at one look.
_MOST_AT_THE_TOP, _MOST_IN_A_WING = 12, 13


def imports(tree: ast.AST, module: str) -> tuple[set[str], set[str]]:
    """The modules of lbhook and the foreign packages that a module imports, wherever in it."""
    ours: set[str] = set()
    foreign: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            foreign |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = [*module.split(".")[: -node.level], *(node.module or "").split(".")]
            place = ".".join(filter(None, base))
            ours |= {_module(place, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            foreign.add((node.module or "").partition(".")[0])
    return ours - {"__version__"}, foreign


def _module(place: str, name: str) -> str:
    """What `from place import name` reads: a module called `name`, or `place` itself."""
    return ".".join(filter(None, (place, name))) if place in ("", *_WINGS) else place


_WINGS = tuple(wing for wing, modules in HOUSE.items() if modules)


@functools.cache
def of(module: str) -> tuple[set[str], set[str]]:
    """What a module imports."""
    file = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    return imports(ast.parse(file.read_text(encoding="utf-8")), module)


def test_imports_are_found_wherever_they_are() -> None:
    """The walk itself sees imports inside functions, under conditions and under other names."""
    source = """
import a.b as c
from d.e import f
def g():
    from . import state, files as j
    if True:
        from ..config.settings import l
        from ..imds import client
        from ..errors import m
        from .. import __version__, plan
"""
    ours = {"storage.state", "storage.files", "config.settings", "imds.client", "errors", "plan"}
    assert imports(ast.parse(source), "storage.lock") == (ours, {"a", "d"})


def test_every_module_has_its_place() -> None:
    """A new module gets a place here and in docs/architecture.md before it gets code."""
    assert sorted(ORDER) == sorted(MODULES)


def test_the_house_is_seen_at_one_look() -> None:
    """Few doors at the top, few in each wing."""
    assert len(list(PACKAGE.glob("*.py"))) <= _MOST_AT_THE_TOP
    assert max(map(len, HOUSE.values())) <= _MOST_IN_A_WING


@pytest.mark.parametrize("wing", _WINGS)
def test_a_wing_says_at_its_door_what_it_is(wing: str) -> None:
    """One docstring, and no import that would cost a start or hide where a thing lives."""
    tree = ast.parse((PACKAGE / wing / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """A module knows only of those below it."""
    below = set(ORDER[: ORDER.index(module)])
    assert of(module)[0] - below == set()


@pytest.mark.parametrize("package", ALONE)
def test_what_some_modules_alone_may_touch(package: str) -> None:
    """HTTP, templates, processes and the terminal each have their place."""
    found = {module for module in MODULES if package in of(module)[1]}
    allowed = {one for one in MODULES if one in ALONE[package] or _wing(one) in ALONE[package]}
    assert found <= allowed
    assert {_wing(one) for one in found} == {_wing(one) for one in allowed}


def _wing(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_packages_are_imported_from_outside_or_relatively(module: str) -> None:
    """Inside the package imports are relative."""
    assert "lbhook" not in of(module)[1]


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
heavy += ("lbhook.runs.update", "lbhook.imds.classification", "lbhook.metadata.instance")
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return set(ast.literal_eval(done.stderr.decode().splitlines()[-1]))


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["apply", "--help"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    """Neither requests nor jinja2, nor a module that does something."""
    assert loaded(*args) == set()


def test_a_body_from_a_file_needs_no_http(tmp_path: Path) -> None:
    """An apply that asks nobody loads neither requests nor what else it takes to ask."""
    body = str(BODIES / "documented.json")
    names = loaded("apply", "--metadata", body, "--root", str(tmp_path))
    assert names == {"jinja2", "lbhook.runs.update"}


def test_an_unchanged_answer_needs_no_templates(tmp_path: Path) -> None:
    """An unchanged answer is recognised by what its files were made of."""
    words = ("apply", "--metadata", str(BODIES / "documented.json"), "--root", str(tmp_path))
    loaded(*words)
    assert loaded(*words) == {"lbhook.runs.update"}


def test_nor_does_it_after_a_boot(tmp_path: Path) -> None:
    """Though all that was in memory is gone, and the env file is made again."""
    words = ("apply", "--metadata", str(BODIES / "documented.json"), "--root", str(tmp_path))
    loaded(*words)
    env = tmp_path / "run/lbhook/lb.env"
    before = env.read_bytes()
    shutil.rmtree(tmp_path / "run")
    assert loaded(*words) == {"lbhook.runs.update"}
    assert env.read_bytes() == before


def test_who_only_asks_loads_nothing_that_changes_files(tmp_path: Path) -> None:
    """A boot waits for it."""
    with Emulator(BODIES / "documented.json") as imds:
        names = loaded("fetch", "--endpoint", imds.url, "--root", str(tmp_path))
    assert names == {"requests", "urllib3", "email", "socket", "lbhook.imds.classification"}


# What a word in backticks must be to name a place of the house: a module, or a name in one.
_PLACE = re.compile(r"[a-z_]+(/[a-z_]+)?")


def _rows(heading: str) -> list[list[str]]:
    """The rows of a table of docs/architecture.md, below a heading."""
    text = (REPO / "docs" / "architecture.md").read_text(encoding="utf-8")
    _, _, section = text.partition(f"\n## {heading}\n")
    lines = re.findall(r"^\| (.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines[1:]]


def _coded(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _house() -> dict[str, list[str]]:
    """The cells of the documented table behind each of its places."""
    rows = [line for line in _rows("The house") if _coded(line[0])]
    return {_coded(row[0])[0].rstrip("/"): row[1:] for row in rows}


def test_the_documentation_has_the_same_house() -> None:
    """The table of docs/architecture.md is this order."""
    assert list(_house()) == list(HOUSE)


@pytest.mark.parametrize("place", HOUSE)
def test_what_the_documentation_says_others_import_is_there(place: str) -> None:
    """Each `module.Name` of the table's last column exists, and its module is imported by others:
    by a whole place below it."""
    names = [name.rpartition(".") for name in _coded(_house()[place][2])]
    used = set().union(*(of(one)[0] for one in MODULES if _wing(one) != place))
    assert names or place == "commands"
    for module, _, name in names:
        full = ".".join(filter(None, (place, module)))
        assert full in MODULES, f"{place}: no module {module}"
        assert full in used or full == "program", f"{full} is imported by nobody else"
        assert hasattr(importlib.import_module(f"lbhook.{full}"), name), f"{full} has no {name}"


@pytest.mark.parametrize("place", HOUSE)
def test_modules_that_the_documentation_names_are_there(place: str) -> None:
    """What a row says of itself names modules of its own package, or of another one by both."""
    known = {*HOUSE, *HOUSE[place], *(one.replace(".", "/") for one in MODULES)}
    named = {word for word in _coded(_house()[place][0]) if _PLACE.fullmatch(word)}
    assert named - known == set()


def test_what_is_to_be_changed_is_found() -> None:
    """Each place of "Where do I change ...?" is a module, or a file or directory of this
    repository; a name in brackets behind a module is in it."""
    cells = [places for _, places in _rows("Where do I change ...?")]
    found = re.findall(r"`([a-z][\w./-]*)`(?: \(`(\w+)`\))?", "\n".join(cells))
    assert len(found) > len(cells)
    for place, name in found:
        there = (PACKAGE / f"{place}.py", PACKAGE / place, REPO / place)
        assert any(one.exists() for one in there), place
        module = f"lbhook.{place.replace('/', '.')}"
        assert not name or hasattr(importlib.import_module(module), name), f"{place}: {name}"


@pytest.mark.parametrize("wing", _WINGS)
def test_a_door_names_what_the_documentation_names(wing: str) -> None:
    """What a package's own docstring says that others use is in the table, too."""
    text = (PACKAGE / wing / "__init__.py").read_text(encoding="utf-8")
    used = re.search(r"Others use (.*?)\.\s", text, re.DOTALL)
    named = {name.rpartition(".")[2] for name in _coded(_house()[wing][2])}
    assert set(_coded(used[1] if used else "")) - named == set()
