"""The documentation: what it shows is run, what it lists is compared with the code."""

import ast
import functools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader, Environment

from lbhook import resources
from lbhook.config import settings as config
from lbhook.config import shipped, target_tables, targets, toml_files
from lbhook.config.settings import Hooks, Imds, Metrics, Settings
from lbhook.emulator.server import Emulator
from lbhook.metadata import facts, instance, model
from lbhook.metadata.body import parse
from lbhook.paths import Paths
from lbhook.processes import run as lbhook_run
from lbhook.rendering import fingerprint, render, sandbox

from . import messages
from .conftest import lacking
from .program import BODIES, ENVIRONMENT, REPO, Desk, Ended, argv, run_lbhook

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGES = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    *sorted(str(file.relative_to(REPO)) for file in (REPO / "docs").rglob("*.md")),
]
_BLOCK = re.compile(
    r"(?:`(?P<file>/[^`\n]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_CUT = "-- cut here --"
_COMMAND = re.compile(r"(?:\$|#) (?=(?:sudo )?(?:lbhook|make) )")
_TEMPLATES = "/etc/lbhook/templates/"
_OWN_FILES = f"{toml_files.DEFAULT_FILE}.d/"
# Followed to the letter, in a shell.
_START = "docs/start.md"
# Commands that are not to be run by a test, and what is run in their place.
_INSTEAD = {"make demo": "lbhook demo"}
# What is not run here: the two installations are for tests/packages and tests/boot, what takes a
# machine out of rotation is for tests/lab, and what wants systemd for tests/boot/test_operate.py.
_NOT_RUN = (
    *("make test", "lbhook install", "sudo lbhook install", "lbhook uninstall"),
    *(f"{sudo}lbhook {name}" for sudo in ("", "sudo ") for name in ("drain", "undrain")),
    # Of packets that come; tests/lab/test_trace.py has the page's example.
    *("lbhook trace", "sudo lbhook trace"),
    *("lbhook apply --confirm", "sudo lbhook apply --confirm", "lbhook confirm"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block; `file` is the path that the line above it names."""

    kind: str
    text: str
    file: str


def read(page: str) -> str:
    """The text of a page."""
    return (REPO / page).read_text(encoding="utf-8")


def blocks(page: str, kind: str = "") -> list[Block]:
    """The fenced blocks of a page."""
    found = [
        Block(one["kind"], one["text"], one["file"] or "") for one in _BLOCK.finditer(read(page))
    ]
    return [one for one in found if kind in ("", one.kind)]


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """The cells of the tables below a heading of a page, but for their first two lines."""
    below = read(page).split(f"\n{heading}\n", 1)[1]
    section = re.split(r"^#", below, maxsplit=1, flags=re.M)[0]
    for table in re.findall(r"(?:^\|.*\n)+", section, re.M):
        for line in table.splitlines()[2:]:
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def names(cell: str) -> list[str]:
    """What is set as code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


# What is shown is run


def sessions(block: Block) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that it shows."""
    root, command, shown = block.text.startswith("# "), "", list[str]()
    for line in block.text.splitlines() if block.kind == "console" else ():
        if _COMMAND.match(line):
            if command:
                yield command, shown
            command, shown = _COMMAND.sub("", line, count=1), []
        elif command and not (root and line.startswith("# ")):
            shown.append(line)
    if command:
        yield command, shown


_WITHOUT_BODY = ("rollback", "clean", "fetch", "restore", "history", "hold", "resume")


def run(desk: Desk, line: str) -> Ended:
    """A command of the documentation, below the desk's root and from its body."""
    words = shlex.split(_INSTEAD.get(line, line), comments=True)[1:]
    words = words[1:] if words[0] == "lbhook" else words
    command, *args = words
    if command in ("demo", "--version", "--help"):
        return run_lbhook(*words)
    for option in ("--root", "--metadata"):
        if option in args:
            del args[args.index(option) : args.index(option) + 2]
    cached = "--cached" in args
    if not cached and command not in _WITHOUT_BODY:
        return desk.run(command, *args)
    body, desk.body = desk.body, ""
    with Emulator() as imds:
        desk.endpoint = imds.url
        if cached:
            assert desk.run("fetch").status == 0
        ended = desk.run(command, *args)
    desk.body = body
    return ended


def pattern(shown: list[str]) -> str:
    """What the output must match: `...` is any text, alone in a line any number of lines."""
    lines = (re.escape(line).replace(re.escape("..."), ".*") + "\n" for line in shown)
    return "".join(r"(?:.*\n)*?" if line == ".*\n" else line for line in lines)


@pytest.mark.parametrize("page", [page for page in PAGES if page != _START])
def test_what_is_shown_is_what_comes(page: str, tmp_path: Path) -> None:
    """Each command of a page works, in order and on the same root, and prints what is shown."""
    desk = Desk(tmp_path)
    for block in blocks(page):
        if block.file.startswith(_TEMPLATES):
            (desk.templates / block.file.removeprefix(_TEMPLATES)).write_text(block.text)
        if block.file.startswith(_OWN_FILES):
            desk.configure(block.text)
        for command, shown in sessions(block):
            if command.startswith(_NOT_RUN):
                continue
            ended = run(desk, command)
            assert ended.status == 0, (command, ended.err)
            if shown:
                assert re.fullmatch(pattern(shown), ended.out), f"{command} printed\n{ended.out}"


def test_start_works_as_printed(tmp_path: Path) -> None:
    """Each line up to the part about a VM, typed into one shell in a checkout with nothing else on
    its PATH, but for `make demo`, which has made the virtual environment by then."""
    program = tmp_path / ".venv/bin/lbhook"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH={REPO} exec {sys.executable} -m lbhook "$@"\n')
    program.chmod(0o755)
    part = read(_START).split("\n## Do it on a VM\n")[0]
    texts = [one["text"] for one in _BLOCK.finditer(part) if one["kind"] == "console"]
    typed = "".join(texts).replace("$ make demo\n", "$ true\n")
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", typed, re.M)
    script = "set -eu\n" + "".join(f"{command}\necho {_CUT}\n" for command, _ in commands)
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(f"{_CUT}\n")
    assert len(commands) > 8
    for (command, shown), out in list(zip(commands, printed, strict=False))[1:]:
        assert re.fullmatch(pattern(shown.splitlines()), out), f"{command} printed\n{out}"


def test_the_one_way_of_configuring() -> None:
    """No page and no example writes the package's own file, about which an upgrade would ask."""
    examples = [*(REPO / "examples").rglob("*.*"), *((REPO / page) for page in PAGES)]
    for file in (one for one in examples if one.is_file()):
        text = file.read_text(encoding="utf-8")
        written = re.findall(r"(?:path: |>|644 \S+ |dest: )/etc/lbhook/lbhook\.toml(?!\.d/)", text)
        written += re.findall(r"`/etc/lbhook/lbhook\.toml`:\n\n```", text)
        assert not written, file
        assert "force-conf" not in text, file


def test_the_comparison_itself() -> None:
    """Lines must be there in order; only `...` stands for what is left out."""
    text = "one\ntwo\nthree 3 s\nfour\n"
    for shown in (["..."], ["one", "..."], ["one", "two", "three ... s", "four"], ["...", "four"]):
        assert re.fullmatch(pattern(shown), text), shown
    for shown in (["one"], ["two", "..."], ["...", "two", "one", "..."], ["one", "...", "two"]):
        assert not re.fullmatch(pattern(shown), text), shown


@pytest.mark.parametrize("page", PAGES)
def test_configurations_are_read(page: str) -> None:
    """Each block of TOML is a configuration without a problem."""
    for block in blocks(page, "toml"):
        config.parse(block.text)


@pytest.mark.parametrize("page", PAGES)
def test_templates_render(page: str) -> None:
    """Each block of Jinja renders, with an answer and with none."""
    lb = facts.derive(parse((BODIES / "documented.json").read_bytes()))
    for block in blocks(page, "jinja"):
        renderer = render.Renderer(sandbox.environment(DictLoader({"own.j2": block.text})))
        own = targets.Target(
            name="own", template="own.j2", path=Paths().state, vars={"service": "shop"}
        )
        assert renderer.render(own, lb) != renderer.rest(own)


@pytest.mark.parametrize("page", PAGES)
def test_files_are_shown_as_they_are_rendered(page: str) -> None:
    """A file that lbhook writes is one of those that are compared with what it renders."""
    golden = [file.read_text(encoding="utf-8") for file in (REPO / "tests/golden").iterdir()]
    for block in blocks(page):
        if block.kind != "jinja" and block.text.startswith("# Written by lbhook"):
            assert block.text in golden


@pytest.mark.needs("nginx", "nginx-stream", "haproxy")
def test_proxies_take_the_examples(tmp_path: Path) -> None:
    """What the page says to write into their own configurations, with the files of lbhook's."""
    golden = REPO / "tests/golden"
    wrapper = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
pid {0}/pid; error_log stderr; events {{}} {1}
"""
    for block in blocks("docs/targets.md", "nginx"):
        if "include" in block.text.partition(";")[0] or block.text.startswith("stream"):
            text = block.text if block.text.startswith("stream") else f"http {{ {block.text} }}"
            for name, file in (("listen", "documented.conf"), ("stream", "documented.stream")):
                text = text.replace(f"/etc/nginx/lbhook/{name}.conf", str(golden / file))
            (tmp_path / "nginx.conf").write_text(wrapper.format(tmp_path, text))
            said = lbhook_run(("nginx", "-t", "-c", str(tmp_path / "nginx.conf"))).output
            assert "syntax is ok" in said, said
    for block in blocks("docs/targets.md", "haproxy"):
        (tmp_path / "haproxy.cfg").write_text(block.text)
        files = (tmp_path / "haproxy.cfg", golden / "documented.cfg")
        argv = ("haproxy", "-c", *(word for file in files for word in ("-f", str(file))))
        done = lbhook_run(argv)
        # haproxy 3.2 says nothing where all is well.
        assert (done.status, done.output) in [(0, "Configuration file is valid\n"), (0, "")]


@pytest.mark.parametrize("page", PAGES)
def test_parts_of_a_firewall_are_rendered_so(page: str) -> None:
    """Each block of nft stands in a golden file, but those that an owner writes: they are run by
    tests/lab/test_snippets.py."""
    golden = [file.read_text() for file in (REPO / "tests/golden").glob("*.nft")]
    for block in blocks(page, "nft"):
        own = block.file.startswith("/etc/lbhook/nftables.d/")
        assert own or any(block.text in text for text in golden), block.text


def test_no_page_promises_an_apply_of_all_or_nothing() -> None:
    """A target that fails holds no other back (decision 0011): `rollback` alone is all or nothing,
    and one transaction is what nft makes of a table."""
    packages = ("packaging/lbhook.8.in", "packaging/lbhook.spec", "debian/control")
    pages = [page for page in PAGES if "/decisions/" not in page and page != "CHANGELOG.md"]
    for page in (*pages, *packages):
        prose = " ".join(read(page).split())
        for sentence in re.split(r"(?<=\.) |\| \|", prose):
            if re.search(r"\bor nothing\b|\bone transaction\b", sentence):
                assert re.search(r"`rollback`|\btable\b", sentence), (page, sentence)


# What nobody in the field says, and what stands in its place.
_ODD = {
    r"in step\b": "up to date",
    r"mend(s|ed|ing)?\b": "fix",
    r"questions\b": "requests",
    r"no (connection|answer) in time\b": "timed out",
    r"somebody\b": "who it is, or the passive",
    r"goes off\b": "fires",
    r"asks? nobody\b": "makes no request",
    r"nothing of this answer\b": "no change",
    r"must be loaded into this machine\b": "",
    r"not loaded since this machine booted\b": "",
    r"had not the rules\b": "",
    r"for one server block\b": "for every server block that shares these ports",
}


def spoken() -> Iterator[tuple[str, str]]:
    """What people read of lbhook, and where: messages, help, pages, units and packages; not
    decisions, which tell of the past, nor docstrings and the playbooks' keys."""
    docstrings = {
        ast.get_docstring(node, clean=False)
        for file in (REPO / "lbhook").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    }
    for text, place in messages.said(everything=True):
        if text not in docstrings:
            yield text, place
    for name in ("", *commands()):
        yield help_of(*name.split()), f"lbhook {name} --help"
    for folder in ("systemd", "templates", "packaging", "debian", "examples"):
        for file in (REPO / folder).rglob("*"):
            if file.is_file() and file.suffix != ".pyc" and file.name != "changelog":
                yield file.read_text(encoding="utf-8"), str(file.relative_to(REPO))
    for page in PAGES:
        if "/decisions/" not in page:
            yield read(page), page


def test_no_word_stops_a_reader() -> None:
    """No message, help text, page or unit has a word that readers stumbled over."""
    odd = re.compile(rf"\b(?:{'|'.join(_ODD)})", re.I)
    found = [(place, said[0]) for text, place in spoken() for said in odd.finditer(text)]
    assert not found, found


# Every key, name and filter


def section(text: str) -> Settings:
    """A configuration from the documentation."""
    return config.parse(text)


@pytest.mark.parametrize(
    ("table", "kind"), [("imds", Imds), ("paths", Paths), ("hooks", Hooks), ("metrics", Metrics)]
)
def test_settings(table: str, kind: Any) -> None:
    """Each key of a table is there once, in order, and its default is what holds without it."""
    documented = [cells[:2] for cells in rows("docs/configuration.md", f"## `[{table}]`")]
    assert [names(key) for key, _ in documented] == [[name] for name in kind._fields]
    for key, default in documented:
        line = f"{names(key)[0]} = {names(default)[0]}\n" if names(default) else ""
        assert getattr(section(f"[{table}]\n{line}"), table) == kind()


def test_keys_of_a_target() -> None:
    """Each key of a target is there, with what holds for one of your own without it."""
    documented = [cells[:2] for cells in rows("docs/configuration.md", "## `[targets.NAME]`")]
    own = '[targets.own]\ntemplate = "own.j2"\npath = "/etc/own"\n'
    known = [*target_tables.TARGET, "vars"]
    assert sorted(names(key)[0] for key, _ in documented) == sorted(known)
    for key, default in documented:
        if names(default):
            assert section(f"{own}{names(key)[0]} = {names(default)[0]}\n") == section(own)


def test_shipped_targets() -> None:
    """Each has the defaults that the page says, and no other."""
    page = read("docs/configuration.md").split("\n## Shipped targets\n")[1]
    said = tomllib.loads(page.split("```toml\n")[1].split("```")[0])["targets"]
    assert list(said) == list(shipped.SHIPPED)
    for name, kind in shipped.SHIPPED.items():
        defaults = {key: one for key, one in kind.defaults.items() if key != "resting_template"}
        defaults["path"] = defaults["path"].replace("{runtime}", str(Paths().runtime))
        defaults = json.loads(json.dumps(defaults))  # lists where the code has tuples
        assert said[name] == defaults


@pytest.mark.parametrize("kind", [kind for kind, one in shipped.SHIPPED.items() if one.variables])
def test_variables(kind: str) -> None:
    """Each variable of a shipped target is there, with its default."""
    documented = [cells[:2] for cells in rows("docs/configuration.md", f"### `{kind}`")]
    assert [names(key)[0] for key, _ in documented] == list(shipped.SHIPPED[kind].variables)
    for key, default in documented:
        if names(default):
            given = f"[targets.{kind}.vars]\n{names(key)[0]} = {names(default)[0]}\n"
            assert section(given).targets == section(f"[targets.{kind}]\n").targets


def test_names_of_the_env_file() -> None:
    """Each name of the env file is there, and nothing that it has not."""
    documented = [
        one for cells in rows("docs/configuration.md", "### `env`") for one in names(cells[0])
    ]
    content = (REPO / "tests/golden/public-ip-only.env").read_text()
    content += (REPO / "tests/golden/documented.env").read_text()
    real = dict.fromkeys(re.findall(r"^(\w+)=", content, re.M))
    assert [one for one in real if not re.fullmatch(r"LB_INBOUND_[1-9]\d*", one)] == documented


@pytest.mark.parametrize(
    ("heading", "column", "kind"),
    [
        ("`lb`", "name", facts.Facts),
        ("`lb`", "a rule has", model.InboundRule),
        ("`lb`", "a listener has", facts.Listener),
        ("`lb`", "a tunnel has", model.TunnelInterface),
        ("`vm`", "`vm` has", instance.Vm),
    ],
)
def test_names_of_a_template(heading: str, column: str, kind: Any) -> None:
    """Each name that a template sees is there, and nothing that it does not see."""
    table = read("docs/templates.md").split(f"| {column} |")[1].split("\n\n")[0]
    found = [one for line in table.splitlines()[2:] for one in names(line.split("|")[1])]
    real = [name for name in dir(kind(**_anything(kind))) if not name.startswith("_")]
    assert sorted(name.removeprefix("lb.") for name in found) == sorted(real)
    assert heading in read("docs/templates.md")


def _anything(kind: Any) -> Mapping[str, object]:
    return {one.name: one.name for one in fields(kind)}


def test_filters() -> None:
    """Each filter of lbhook's own is there."""
    ours = set(sandbox.environment(DictLoader({})).filters) - set(Environment().filters)
    documented = [names(cells[0])[0] for cells in rows("docs/templates.md", "## Filters")]
    assert sorted(documented) == sorted(ours)


def test_pairs_and_network_interfaces() -> None:
    """What a pair and a network interface have is there, and nothing else."""
    text = read("docs/templates.md")
    pair = text.split("A pair has ")[1].split("\n")[0]
    nics = next(cells[1] for cells in rows("docs/templates.md", "## `vm`") if cells[0] == "`nics`")
    for documented, kind in ((pair, model.AddressPair), (nics, instance.Nic)):
        assert sorted(names(documented)) == sorted(one.name for one in fields(kind))


def test_global_functions() -> None:
    """Those of Jinja2's that a template has."""
    (said,) = re.findall(r"global functions there are (.*)\.", read("docs/templates.md"))
    assert names(said.split(". ")[0]) == list(sandbox.environment(DictLoader({})).globals)


def test_shipped_templates() -> None:
    """Each file of a shipped template is named."""
    said = read("docs/templates.md").split("\n## Shipped templates\n")[1].split("\n## ")[0]
    files = {file.name for file in fingerprint.SHIPPED_TEMPLATES.iterdir()}
    assert set(re.findall(r"`([\w.-]+\.j2)`", said)) == files


def test_shipped_bodies() -> None:
    """Each body that can be named is there, and each can be shown."""
    documented = [names(cells[0])[0] for cells in rows("docs/templates.md", "## Bodies to try")]
    assert documented == list(resources.BODIES)
    for name in documented:
        assert run_lbhook("show", "--json", "--metadata", name).status == 0


def test_the_mistake_that_is_shown(tmp_path: Path) -> None:
    """A template with the line that the page shows is refused in these words."""
    (block,) = (one for one in blocks("docs/templates.md") if "listners" in one.text)
    desk = Desk(tmp_path)
    desk.own_target("fine\n{{ lb.listners }}\n")
    said = desk.run("render", "motd").err.replace("TMP/templates", "/etc/lbhook/templates")
    assert said.startswith(block.text)


# Commands, options, statuses, messages


def help_of(*command: str) -> str:
    """The help of a command."""
    return run_lbhook(*command, "--help").out


def commands() -> list[str]:
    """The commands that there are."""
    return re.findall(r"^  (\w+) ", help_of().split("Commands:\n")[1], re.M)


def examples_of(*command: str) -> list[str]:
    """The examples in the help of a command."""
    text = help_of(*command).split("\nOptions:\n")[0]
    lines = re.split(r"^  Examples?:\n", text, maxsplit=1, flags=re.M)[1].splitlines()
    return [re.split(r"  +", line.strip())[0] for line in lines]


@pytest.mark.parametrize("command", ["", *commands()])
def test_examples_of_help_work(command: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Each example in a command's help does what it is for: on a directory and from a body."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "body.json").write_bytes((BODIES / "documented.json").read_bytes())
    (tmp_path / "motd.j2").write_text("{{ lb.listeners | length }} listeners\n")
    desk = Desk(tmp_path)
    desk.configure("[targets.nftables]\n")
    for line in examples_of(*command.split()):
        line = line.removeprefix("sudo ").replace("python3 lbhook.pyz", "lbhook")
        if command == "emulate":
            serve(*line.split())
        elif not line.startswith(_NOT_RUN):
            desk.apply()
            ended = run(desk, line)
            assert ended.status == 0 or command == "doctor", (line, ended.err)
            assert ended.status in (0, 1)


def serve(*words: str) -> None:
    """An example of the emulator, at a port that is free; or of asking it."""
    if words[0] != "lbhook":
        with Emulator() as imds:
            assert run_lbhook(*words[2:], env={"LBHOOK_ENDPOINT": imds.url}).status == 0
        return
    command = argv(*words[1:], "--listen", "127.0.0.1:0")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=pipe, text=True) as process:
        assert process.stderr
        assert process.stderr.readline().startswith("Serving http://127.0.0.1:")
        process.terminate()


def test_commands_and_options_exist() -> None:
    """No page names a command or an option of lbhook's that is not there."""
    known = set(commands())
    options = {
        one for name in ("", *known) for one in re.findall(r"--[a-z][\w-]*", help_of(*name.split()))
    }
    for page in set(PAGES) - {"CHANGELOG.md"}:
        text = read(page)
        for name in re.findall(r"(?:`|\$ |# |sudo )lbhook ([a-z]\w*)", text):
            assert name in known, page
        for line in re.findall(r"lbhook [^\n`|]*", text):
            assert set(re.findall(r"(?<= )--[a-z][\w-]*", line)) <= {*options, "--now"}, page


def test_commands_are_named() -> None:
    """Each command is named in the README or on a page."""
    text = "".join(map(read, PAGES))
    for name in commands():
        assert re.search(rf"lbhook {name}\b", text), name


def test_statuses() -> None:
    """Each status that lbhook ends with is there."""
    documented = {
        int(one)
        for cells in rows("docs/troubleshooting.md", "## Statuses")
        for one in cells[0].split(",")
    }
    tree = ast.parse(read("lbhook/errors.py"))
    classes = (
        one.value.value
        for one in ast.walk(tree)
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant)
    )
    assert documented == {0, 1, 130, 143, *classes}


@functools.cache
def texts_of_the_code() -> str:
    """All of them, a line each."""
    return "\n".join(text for text, _ in messages.said(everything=True)).replace("`", "")


@pytest.mark.parametrize(
    ("page", "heading"),
    [
        *(
            ("docs/messages.md", one)
            for one in re.findall(r"(?m)^## .*$", read("docs/messages.md"))
        ),
        ("docs/troubleshooting.md", "### What it finds"),
    ],
)
def test_messages_are_lbhook_s(page: str, heading: str) -> None:
    """Each message of the tables is one that the code has, but for what `...` stands for."""
    texts = texts_of_the_code()
    for cells in rows(page, heading):
        for message in names(cells[0]):
            for part in re.split(r"\.\.\.(?: is not (?=.))?", message):
                assert part.strip(' ;:,"()[]') in texts, message


def test_no_message_is_missing() -> None:
    """Each message of the code has a row that says what it means."""
    assert [*messages.lacking()] == []


# Files


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Each relative link is to a file that there is."""
    prose = _BLOCK.sub("", read(page))
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not re.match(r"https?://", link):
            assert ((REPO / page).parent / link.partition("#")[0]).exists(), link


def test_examples_are_those_of_the_pages() -> None:
    """What a page shows is what examples/ has, but for comments."""
    for page, kind, file in (
        ("README.md", "yaml", "cloud-init.yaml"),
        ("docs/configuration.md", "jinja", "listeners.json.j2"),
        ("docs/configuration.md", "toml", "listeners.toml"),
    ):
        comment = re.compile(r"^# .*\n", re.M)
        example = comment.sub("", read(f"examples/{file}")).strip().replace("\n\n", "\n")
        found = [block.text.strip().replace("\n\n", "\n") for block in blocks(page, kind)]
        assert example in found, file


@pytest.mark.parametrize("name", ["vm", "listeners"])
def test_examples_apply(name: str, tmp_path: Path) -> None:
    """Each configuration of examples/ goes through an apply."""
    desk = Desk(tmp_path)
    for template in (REPO / "examples").glob("*.j2"):
        (desk.templates / template.name).write_bytes(template.read_bytes())
    desk.configure(read(f"examples/{name}.toml"))
    ended = desk.apply()
    assert (ended.status, "created" in ended.out) == (0, True), ended.err


def cloud_configs() -> list[str]:
    """What a user could hand to cloud-init."""
    found = [block.text for page in PAGES for block in blocks(page, "yaml")]
    found += [file.read_text() for file in sorted((REPO / "examples").glob("*.yaml"))]
    return [text for text in found if text.startswith("#cloud-config\n")]


def test_cloud_configs_are_valid(tmp_path: Path) -> None:
    """cloud-init's own schema takes them, they have only keys that it knows, and what they write
    and run for lbhook is right."""
    ask = _client()
    file = tmp_path / "user-data"
    for text in cloud_configs():
        file.write_text(text)
        said = ask("-m", "cloudinit.cmd.main", "schema", "--config-file", str(file))
        assert f"Valid cloud-config: {file}" in said
        value, known = json.loads(ask("-c", _KEYS, str(file)))
        assert set(value) <= set(known)
        files = {one["path"]: one["content"] for one in value["write_files"]}
        config.parse(files[f"{_OWN_FILES}vm.toml"])
        for command in value.get("runcmd", ()):
            units = [word for word in command if re.fullmatch(r"lbhook[\w-]*\.\w+", word)]
            assert all((REPO / "systemd" / unit).exists() for unit in units)


def test_packer_cleans_last() -> None:
    """What is captured has nothing of the VM that it was made on: the commands that the last
    provisioner runs are lbhook's, and in its order."""
    text = read("examples/packer.pkr.hcl")
    inline = re.findall(r"inline = \[\n(.*?)\n    \]", text, re.S)
    last = [json.loads(line.strip().rstrip(",")) for line in inline[-1].splitlines()]
    assert last[:2] == ["systemctl stop lbhook-refresh.timer", "lbhook clean"]
    assert "clean" in commands()
    assert (REPO / "systemd/lbhook-refresh.timer").exists()
    config.parse(read("examples/vm.toml"))


@pytest.mark.needs("packer", "unshare")
def test_packer_takes_the_example(tmp_path: Path) -> None:
    """Packer takes each word of it, of Azure's builder too, but for the block that fetches this
    builder: Debian's packer is of the last version that had it built in."""
    text = read("examples/packer.pkr.hcl")
    whole, fetching = re.subn(r"(?ms)^packer \{\n.*?^\}\n", "", text)
    assert fetching == 1
    (tmp_path / "own.pkr.hcl").write_text(whole)
    (tmp_path / "vm.toml").touch()
    variables = ("-var", "resource_group=images", "-var", "lbhook_deb=vm.toml")
    argv = ["unshare", "-rn", "packer", "validate", *variables, "own.pkr.hcl"]
    alone = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"}
    ended = subprocess.run(argv, cwd=tmp_path, env=alone, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


_KEYS = """
import json, sys, yaml
from cloudinit.config.schema import get_schema
with open(sys.argv[1]) as file:
    value = yaml.safe_load(file)
known = [key for one in get_schema()["$defs"].values() for key in one.get("properties", ())]
print(json.dumps([value, known]))
"""


def _client() -> Callable[..., str]:
    """cloud-init, unpacked and run by the interpreter that it is built for."""
    packages = REPO / ".cache/clients/tree/usr/lib/python3/dist-packages"
    python = Path("/usr/bin/python3")
    if not (packages / "cloudinit").exists() or not python.exists():
        lacking("no cloud-init: tests/clients/fetch-clients gets it")

    def ask(*words: str) -> str:
        # Without `site` nothing but the unpacked packages is to be found.
        done = subprocess.run(
            [python, "-S", "-B", *words],
            env={**os.environ, "PYTHONPATH": str(packages)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return ask
