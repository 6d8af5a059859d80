"""Which targets belong together, and in which order they are carried out."""

from pathlib import PurePosixPath
from typing import Any

from lbhook.config.targets import Target
from lbhook.errors import ConfigError
from lbhook.plan import Change, FileState, Outcome
from lbhook.planning import groups


def change(name: str, content: bytes = b"", before: bytes | None = None, **keys: Any) -> Change:
    """A file that is about to change; a shipped name makes it of that kind."""
    kind = name if name in ("nginx", "nginx-stream", "haproxy", "floating-ip", "env") else ""
    values = {"name": name, "template": "t", "path": PurePosixPath("/etc", name), "kind": kind}
    return Change(
        target=Target(**{**values, **keys}),
        expected=FileState(content=content, mode=0o644),
        actual=FileState(content=before, mode=0o644) if before is not None else None,
        outcome=Outcome.CHANGED,
    )


def names(*changes: Change) -> list[list[str]]:
    """The groups in which something differs, in order."""
    return [[one.target.name for one in group] for group in groups.divided(changes)[1]]


def test_targets_that_share_nothing_are_groups_of_their_own() -> None:
    """A firewall and a web server have nothing to do with each other."""
    assert names(change("one"), change("two"), change("nginx")) == [["one"], ["two"], ["nginx"]]


def test_files_of_one_program_or_one_reload_belong_together() -> None:
    """By the program, its unit, or the command that reloads it."""
    assert names(change("nginx"), change("one"), change("nginx-stream")) == [
        ["nginx", "nginx-stream"],
        ["one"],
    ]
    unit: dict[str, Any] = {"reload_unit": "app.service"}
    assert names(change("one", **unit), change("two", **unit)) == [["one", "two"]]
    command: dict[str, Any] = {"reload": ("load", "it")}
    assert names(change("one", **command), change("two", **command)) == [["one", "two"]]
    command = {"reload": ("load", "{path}")}
    assert names(change("one", **command), change("two", **command)) == [["one"], ["two"]]


def test_a_listener_that_moves_joins_the_two_programs() -> None:
    """What nginx gives up haproxy takes: half of it would be a port that nobody has."""
    before, after = b"listen 10.0.0.4:80;\n", b"bind 10.0.0.4:80\n"
    rest = b"listen 127.0.0.127:10009;\n"
    assert names(change("nginx", rest, before), change("haproxy", after)) == [["nginx", "haproxy"]]
    everywhere = b"listen 0.0.0.0:80;\n"
    assert names(change("nginx", everywhere), change("haproxy", after)) == [["nginx", "haproxy"]]
    other = b"listen 10.0.0.4:81;\n"
    assert names(change("haproxy", after), change("nginx", other)) == [["nginx"], ["haproxy"]]
    assert names(change("nginx", rest), change("haproxy", b"bind 127.0.0.127:10009\n")) == [
        ["nginx"],
        ["haproxy"],
    ]


def test_an_address_belongs_to_the_listeners_on_it() -> None:
    """Also one that goes: nginx could not start any more with a listener on it."""
    floating = change("floating-ip", b"50.0.0.1\n", b"50.0.0.2\n")
    assert names(floating, change("nginx", b"listen 50.0.0.1:80;\n")) == [["floating-ip", "nginx"]]
    assert names(floating, change("nginx", b"", b"listen 50.0.0.2:80;\n")) == [
        ["floating-ip", "nginx"]
    ]
    assert names(floating, change("nginx", b"listen 10.0.0.4:80;\n")) == [
        ["floating-ip"],
        ["nginx"],
    ]
    assert names(change("floating-ip", b"no address\n"), change("nginx")) == [
        ["floating-ip"],
        ["nginx"],
    ]


def test_what_goes_comes_first_then_what_a_boot_wants() -> None:
    """So that it can be replaced; and so that the answer is kept with what a boot wants of it."""
    gone = change("gone", template="")
    assert names(change("haproxy"), change("nginx"), change("env"), gone) == [
        ["gone"],
        ["env"],
        ["nginx"],
        ["haproxy"],
    ]


def test_where_nothing_differs_there_are_no_groups() -> None:
    """They are looked at in one go."""
    idle = tuple(change(name)._replace(outcome=Outcome.UNCHANGED) for name in ("one", "two"))
    assert groups.divided(idle) == (idle, ())
    busy = change("three")
    assert groups.divided((*idle, busy)) == (idle, ((busy,),))


def test_what_can_not_be_planned_holds_its_group_back() -> None:
    """And nobody else; each is named."""
    failed = change("nginx-stream").failed(ConfigError("it is wrong"))
    held, other, same = groups.held_together([change("nginx"), change("one"), failed])
    assert (held.touches_file, other.touches_file, same) == (False, True, failed)
    assert (
        str(held.failure) == "nginx: not changed, because nginx-stream failed, and they go together"
    )
