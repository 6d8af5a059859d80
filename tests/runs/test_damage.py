"""Every record of a lived-in machine, damaged in every way: no command stands still for it."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lbhook.config.settings import Settings
from lbhook.deployment.report import Report
from lbhook.errors import LbhookError
from lbhook.imds.fetching import Fetcher
from lbhook.imds.last_good import LastGood
from lbhook.memory.records import Port, Refused
from lbhook.runs.restoration import Restoration
from lbhook.runs.undo import Undo
from lbhook.telling.history import History

from .. import damage
from ..stand import Stand, altered, body, target

HOOK = '[hooks]\nchanged = ["tell"]\n'
STATUSES = {0, 65, 66, 69, 73, 75, 76, 77, 78}
ANSWER = body(80, 8443)
# Another value of these is another VM's, and no damage.
IDENTITY: set[tuple[object, ...]] = {("uuid",), ("machine_id",)}
RECORDS = (
    *(f"var/lib/lbhook/{name}.json" for name in ("installed", "told", "history", "ports")),
    *("run/lbhook/loaded.json", "run/lbhook/refused.json"),
    *("var/lib/lbhook/previous/journal.json", "var/lib/lbhook/journal/journal.json"),
    "var/lib/lbhook/answer.json",
)


def standing(place: Path, time: float = 2000.0) -> tuple[Stand, Settings]:
    """A machine with two targets, one of them over a file that was there, and a hook."""
    place.mkdir(exist_ok=True)
    stand = Stand(place, time=time)
    stand.template("ports.j2")
    text = target("one") + target("two", reload=["load-two"]) + HOOK
    return stand, stand.settings(text)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has been through a few runs, and was killed in the last; every record is there."""
    place = tmp_path_factory.mktemp("lived-in") / "machine"
    stand, configured = standing(place, 1000.0)
    stand.put("/etc/one", "mine\n")
    for answer in (body(80, 443), ANSWER):
        assert stand.apply(configured, answer).status == 0
    state = stand.host(configured).state
    state.keep_ports([Port(80, "tcp", "0.0.0.0", "apache2")])
    state.keep_own_addresses({"/run/lbhook/floating-ips": ["50.0.0.1"]})
    state.keep_closed(["tcp 25"])
    state.keep_refused({"x": Refused(("p",), 1.0)})
    last_good(stand, configured).keep(ANSWER)
    kept = stand.disk / "var/lib/lbhook"
    shutil.copytree(kept / "previous", kept / "journal")
    (kept / "journal/more").unlink(missing_ok=True)
    assert {name for name in RECORDS if (stand.disk / name).exists()} == set(RECORDS)
    return place


def last_good(stand: Stand, configured: Settings) -> LastGood:
    """Where the last good answer is kept."""
    return Fetcher(stand.context(configured)).last_good


def commands(stand: Stand, configured: Settings) -> Iterator[Callable[[], Report]]:
    """What a boot and its operator run, one after the other."""
    yield lambda: Restoration(stand.context(configured)).carry_out()
    yield lambda: stand.apply(configured, None)
    yield lambda: stand.apply(configured, ANSWER)


def looked_at(stand: Stand, configured: Settings) -> None:
    """What only looks ends as documented, and changes nothing."""
    looks: tuple[Callable[[], object], ...] = (
        lambda: stand.plan(configured, ANSWER),
        lambda: History(stand.host(configured)).changes(),
        lambda: last_good(stand, configured).find(),
    )
    for look in looks:
        with contextlib.suppress(LbhookError):  # which has a status of its own
            look()


def judge(place: Path) -> None:
    """Every command ends with a status of its own; then the machine is in step, quietly; and what
    was there before lbhook comes back."""
    stand, configured = standing(place)
    looked_at(stand, configured)
    for command in commands(stand, configured):
        assert command().status in STATUSES
    quiet = stand.apply(configured, ANSWER)
    assert (quiet.status, quiet.outcome, stand.warnings) == (0, "unchanged", [])
    assert stand.text("/etc/one") == "80\n8443\n"
    cleaned = Undo(stand.context(configured)).clean()
    assert (cleaned.status, cleaned.problems) == (0, ())
    assert stand.text("/etc/one") == "mine\n"
    assert stand.text("/etc/two") == "none\n"


@settings(
    max_examples=25,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(name=st.sampled_from(RECORDS), data=st.data())
def test_a_wrong_value_in_a_record_stops_nothing(
    lived_in: Path, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    """Another type, none, or what no file system takes, at any place of any record."""
    place = damage.copied(lived_in, tmp_path / "machine")
    file = place / "disk" / name
    places = set(damage.places(json.loads(file.read_bytes()))) - IDENTITY
    at = data.draw(st.sampled_from(sorted(places, key=str)))
    new = data.draw(st.sampled_from(damage.ODD))
    file.write_bytes(damage.written(damage.changed(json.loads(file.read_bytes()), at, new)))
    judge(place)


@pytest.mark.parametrize("kind", [*damage.STAND_INS, "cut"])
def test_what_is_no_record_stops_nothing(lived_in: Path, tmp_path: Path, kind: str) -> None:
    """All of them at once: a link, a directory, another's file, or one that was cut."""
    place = damage.copied(lived_in, tmp_path / "machine")
    for name in RECORDS:
        file = place / "disk" / name
        if kind == "cut":
            file.write_bytes(file.read_bytes()[:-9])
        else:
            damage.stand_in(file, kind)
    judge(place)


@pytest.mark.parametrize("name", ["installed", "told", "history", "ports"])
def test_what_is_damaged_is_named_once_and_kept(lived_in: Path, tmp_path: Path, name: str) -> None:
    """Under a name that says so, with what else could be read of it still in force."""
    place = damage.copied(lived_in, tmp_path / "machine")
    file = place / "disk/var/lib/lbhook" / f"{name}.json"
    shutil.rmtree(place / "disk/var/lib/lbhook/journal")
    content = file.read_bytes()[:-9]
    file.write_bytes(content)
    stand, configured = standing(place)
    first = f"{file}: damaged: not JSON, or cut; what can't be read is ignored"
    stand.plan(configured, ANSWER)
    assert not (file.with_name(f"{name}.json.damaged")).exists()
    stand.apply(configured, ANSWER)
    assert [one for one in stand.warnings if str(file) in one] == [
        f"{first}, and kept in {name}.json.damaged"
    ]
    assert file.with_name(f"{name}.json.damaged").read_bytes() == content
    stand.apply(configured, ANSWER)
    assert not [one for one in stand.warnings if str(file) in one]


def test_what_is_lost_of_the_record_is_known_from_the_last_run(
    lived_in: Path, tmp_path: Path
) -> None:
    """A target that is dropped after its record was lost is undone all the same."""
    place = damage.copied(lived_in, tmp_path / "machine")
    shutil.rmtree(place / "disk/var/lib/lbhook/journal")
    (place / "disk/var/lib/lbhook/installed.json").write_bytes(b"\0\0\0")
    stand, _ = standing(place)
    dropped = stand.settings(target("two", reload=["load-two"]))
    report = stand.apply(dropped, ANSWER)
    assert (report.status, report.problems) == (0, ()), stand.warnings
    assert stand.text("/etc/one") == "mine\n", stand.warnings


def test_no_room_to_keep_what_is_damaged(lived_in: Path, tmp_path: Path) -> None:
    """Then it stays where it is, and what can be read of it counts all the same."""
    place = damage.copied(lived_in, tmp_path / "machine")
    shutil.rmtree(place / "disk/var/lib/lbhook/journal")
    file = place / "disk/var/lib/lbhook/installed.json"
    value = json.loads(file.read_bytes())
    file.write_bytes(damage.written(damage.changed(value, ("files", "/etc/two", "mode"), "x")))
    stand, configured = standing(place)

    def full(name: str, path: object) -> None:
        if name == "write":
            raise OSError(28, "No space left on device")

    state = altered(stand.host(configured).state, tree=altered(stand.tree, step=full))
    [said] = state.set_aside(dict)
    assert said.endswith(
        'files./etc/two.mode: "x" is not a whole number; what can\'t be read is ignored'
    )
    assert "/etc/one" in state.installed()
    assert "/etc/two" not in state.installed()
