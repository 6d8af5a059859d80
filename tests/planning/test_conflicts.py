"""Two targets that want one listener: found when the plan is made."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from lbhook.config.targets import Target
from lbhook.errors import together
from lbhook.plan import Change, FileState, Outcome
from lbhook.planning import conflicts

from ..stand import GROUP, USER, Runner, Stand, body

TWICE = "{} and {} would both listen on {}; divide them with vars.ports or vars.except_ports".format


def settings_text(*targets: str, **more: str) -> str:
    """A configuration with these shipped targets, or others that are like one."""
    text = ""
    for name in targets:
        lines = [f'owner = "{USER}"', f'group = "{GROUP}"', more.get(name.replace("-", "_"), "")]
        text += "\n".join([f"[targets.{name}]", *lines, ""])
    return text


def planned(place: Path, text: str, *ports: int) -> tuple[str, ...]:
    """What is wrong with a plan for rules to these ports."""
    stand = Stand(place, Runner(lambda _: (0, "syntax is ok")), live=False)
    failures = stand.plan(stand.settings(text), body(*ports)).failures
    error = together(failures)
    return (*error.problems, error.hint) if failures else ()


@pytest.mark.parametrize(
    ("first", "second"),
    [("nginx", "nginx-stream"), ("nginx", "haproxy"), ("nginx-stream", "haproxy")],
)
def test_two_programs_can_not_have_one_listener(tmp_path: Path, first: str, second: str) -> None:
    """Named with both targets and what to do; a few places are enough."""
    text = settings_text(first, second)
    said = TWICE(first, second, "10.0.0.4 port 80")
    assert planned(tmp_path, text, 80) == (said, "their files are as they were")
    problem, _ = planned(tmp_path, text, 80, 81, 82, 83, 84)
    shown = "10.0.0.4 port 80, 10.0.0.4 port 81, 10.0.0.4 port 82 and 2 more"
    assert problem == TWICE(first, second, shown)


def test_two_nginx_can_not_have_one_listener(tmp_path: Path) -> None:
    """Those of two units are two programs, other than two server blocks of one."""
    like = '[targets.b]\nlike = "nginx"\npath = "/etc/nginx/lbhook/b.conf"\n'
    like += f'owner = "{USER}"\ngroup = "{GROUP}"\n'
    text = settings_text("nginx") + like
    assert planned(tmp_path, text, 80) == ()
    text += 'reload_unit = "nginx@b.service"\n'
    said = TWICE("nginx", "b", "0.0.0.0 port 80, :: port 80")
    assert planned(tmp_path, text, 80)[:1] == (said,)


def test_divided_ports_are_no_overlap(tmp_path: Path) -> None:
    """Each has its own; and two with no rule left rest side by side."""
    text = settings_text(
        *("nginx", "nginx-stream", "haproxy"),
        nginx="vars = { ports = [80] }",
        nginx_stream="vars = { ports = [81] }",
        haproxy="vars = { except_ports = [80, 81] }",
    )
    assert planned(tmp_path, text, 80, 81, 82) == ()
    assert planned(tmp_path, text) == ()


def test_a_second_of_a_kind(tmp_path: Path) -> None:
    """Servers of nginx are told apart by name; servers of a stream and frontends are not."""
    for kind, clash in (("nginx", False), ("nginx-stream", True), ("haproxy", True)):
        second = f'like = "{kind}"\npath = "/etc/second"'
        text = settings_text(kind, "second", second=second)
        said = (TWICE(kind, "second", "10.0.0.4 port 80"),) if clash else ()
        assert planned(tmp_path, text, 80)[:1] == said
        assert planned(tmp_path, text) == ()


def change(name: str, content: bytes, **values: Any) -> Change:
    """A file of a shipped target that is about to change."""
    target = Target(name=name, kind=name, template="t", path=PurePosixPath("/etc", name))
    made = Change(
        target=target,
        expected=FileState(content=content, mode=0o644),
        actual=None,
        outcome=Outcome.CREATED,
    )
    return made._replace(**values)


def test_one_port_of_two_protocols_is_two_places() -> None:
    """QUIC beside HTTPS: the one is UDP."""
    tcp = change("nginx", b"listen 10.0.0.4:443 ssl;\n")
    udp = change("nginx-stream", b"server {\n    listen 10.0.0.4:443 udp reuseport;\n}\n")
    assert conflicts.found([tcp, udp]) == []
    [clash] = conflicts.found([udp, udp._replace(target=udp.target._replace(name="other"))])
    assert clash.problem == TWICE("nginx-stream", "other", "10.0.0.4 UDP port 443")


@pytest.mark.parametrize("upstream", ["10.0.0.4", "10.0.0.4:80"])
def test_a_stream_is_not_passed_to_itself(tmp_path: Path, upstream: str) -> None:
    """That would go round until nginx has no connection left."""
    text = settings_text("nginx-stream", nginx_stream=f'vars = {{ upstream = "{upstream}" }}')
    said = "nginx-stream: vars.upstream is 10.0.0.4 port 80, a listener of its own"
    assert planned(tmp_path, text, 80)[:1] == (said,)
    assert planned(tmp_path, text.replace("10.0.0.4", "10.0.0.5"), 80) == ()


@pytest.mark.parametrize(
    "values", [{"outcome": Outcome.SKIPPED}, {"expected": None, "outcome": Outcome.REMOVED}]
)
def test_who_does_not_listen_is_in_nobodys_way(values: dict[str, object]) -> None:
    """A target that is skipped, or undone."""
    content = b"listen 10.0.0.4:443;\n"
    assert conflicts.found([change("nginx", content), change("nginx-stream", content)]) != []
    assert conflicts.found([change("nginx", content, **values), change("haproxy", content)]) == []


def test_what_is_there_already_is_not_to_blame() -> None:
    """Where neither file is written now, a reload that is owed goes on."""
    content, there = b"listen 10.0.0.4:443;\n", {"rendered": False}
    files = [change("nginx", content, **there), change("haproxy", content, **there)]
    assert conflicts.found(files) == []
    assert conflicts.found([files[0], files[1]._replace(rendered=True)]) != []
