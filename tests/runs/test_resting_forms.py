"""Resting forms that an installation puts down, and which files are at rest."""

from pathlib import Path, PurePosixPath

import pytest

from lbhook.plan import Change
from lbhook.planning.planner import Planner
from lbhook.planning.scope import Scope
from lbhook.programs.host import Host, host
from lbhook.runs import resting_forms
from lbhook.runs.update import Update

from ..stand import Stand, body, contents

LISTEN = "/etc/nginx/lbhook/listen.conf"
STREAM = "/etc/nginx/lbhook/stream.conf"
ON = "[targets.nginx]\n[targets.nftables]\n"
OWN = '[targets.motd]\ntemplate = "motd.j2"\npath = "/etc/motd"\n'


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A directory that stands for a machine, with a template of its own."""
    made = Stand(tmp_path, live=False)
    made.template("motd.j2", "hello\n")
    return made


def place(stand: Stand, text: str) -> Host:
    """The stand as `--root` has it: whoever runs the test owns its files."""
    return host(stand.settings(text), stand.disk)


def lay(stand: Stand, text: str = "") -> set[str]:
    """Which files are put down."""
    changes: tuple[Change, ...] = resting_forms.lay(place(stand, text), stand.settings(text))
    return {str(one.path) for one in changes}


def at_rest(stand: Stand, text: str) -> set[str]:
    """Which files are at rest."""
    return {str(path) for path in resting_forms.at_rest(place(stand, text), stand.settings(text))}


def test_what_is_put_down(stand: Stand) -> None:
    """What a program names: of the targets that are on, and of nginx in any case. Nothing is
    put down of a target of one's own, which nobody says must not be missing."""
    assert lay(stand) == {"/run/lbhook/lb.env", LISTEN, STREAM}
    assert lay(stand, ON + OWN) == {"/etc/nftables.d/lbhook.nft"}
    assert lay(stand, ON + OWN) == set()


def test_what_is_there_stays(stand: Stand) -> None:
    """Whoever wrote it, and whatever is in it."""
    stand.put(LISTEN, "")
    before = contents(stand.disk)
    assert LISTEN not in lay(stand)
    assert contents(stand.disk)["etc/nginx/lbhook/listen.conf"] == before[LISTEN[1:]]


def test_a_resting_form_is_nobody_s_original(stand: Stand) -> None:
    """What an installation put down is not kept to be given back; another file is."""
    lay(stand)
    stand.put("/etc/nftables.d/lbhook.nft", "mine\n")
    settings = stand.settings(ON)
    plan = Planner(place(stand, ON), settings).plan(Scope.REST, None)
    assert not any(one.original for one in plan.changes)
    update = stand.update(settings, body(80))
    update = Update(update.context._replace(host=place(stand, ON)))
    originals = {one.target.name: one.original for one in update.plan().changes}
    assert originals == {"env": False, "nginx": False, "nftables": True}


def test_what_is_at_rest(stand: Stand) -> None:
    """Files of all known targets, on or off, in exactly their resting form."""
    lay(stand, ON)
    assert at_rest(stand, "") == {
        *("/run/lbhook/lb.env", LISTEN, STREAM, "/etc/nftables.d/lbhook.nft")
    }
    stand.put(LISTEN, "listen 8080;\n")
    stand.put("/etc/motd", "hello\n")
    assert at_rest(stand, OWN) == {
        *("/run/lbhook/lb.env", STREAM, "/etc/nftables.d/lbhook.nft", "/etc/motd")
    }


def test_the_digest_is_that_of_the_file(stand: Stand) -> None:
    """Whoever removes the file later knows that nobody has touched it since."""
    lay(stand)
    found = resting_forms.at_rest(place(stand, ""), stand.settings(""))
    state = place(stand, "").tree.state(PurePosixPath(LISTEN))
    assert state is not None
    assert found[PurePosixPath(LISTEN)] == state.digest


def test_directories_that_units_may_write_into(stand: Stand) -> None:
    """Those of shipped targets are made where their program's own directory is; they must be
    there when a unit starts, whatever is turned on later."""
    (stand.disk / "etc/haproxy").mkdir(parents=True)
    lay(stand, OWN)
    made = {str(path.relative_to(stand.disk)) for path in stand.disk.glob("etc/*/*")}
    assert made == {"etc/haproxy/conf.d", "etc/nginx/lbhook"}
    assert (stand.disk / "etc/nftables.d").is_dir()
    assert not (stand.disk / "etc/firewalld").exists()
