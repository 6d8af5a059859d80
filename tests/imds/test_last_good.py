"""The last good answer: whose it is, how old, and that a damaged one harms nobody."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from lbhook.config import settings as config
from lbhook.errors import NoAnswerError
from lbhook.imds.answer import Answer, describe_age
from lbhook.imds.identity import Identity
from lbhook.imds.last_good import LastGood
from lbhook.metadata.body import parse
from lbhook.storage.files import Tree
from lbhook.system.machine import Machine

Body = Callable[[str], bytes]
UUID = "1B2AB8A4-74EF-476E-8182-F6D2BA4166A6"
SWAPPED = "a4b82a1b-ef74-6e47-8182-f6d2ba4166a6"
OTHER = "99999999-74EF-476E-8182-F6D2BA4166A6"
MACHINE = "0123456789abcdef0123456789abcdef"
DAY = 86400.0


@dataclass
class Vm:
    """A VM in a directory: its identity, its clock, and what was done to its disk."""

    root: Path
    now: float = 1_800_000_000.0

    def become(self, uuid: str | None, machine_id: str | None = MACHINE) -> None:
        """Take on an identity; None is one that can't be read."""
        for file, text in ((self.root / "uuid", uuid), (self.root / "etc/machine-id", machine_id)):
            file.parent.mkdir(exist_ok=True)
            file.unlink(missing_ok=True)
            if text is not None:
                file.write_text(f"{text}\n")

    def last_good(self, steps: list[str] | None = None) -> LastGood:
        """What a run of lbhook sees; `steps` collects what it does to the disk."""
        note = [] if steps is None else steps
        settings = config.parse(f'[paths]\nidentity = "{self.root / "uuid"}"')
        tree = Tree(self.root, privileged=False, step=lambda name, _: note.append(name))
        return LastGood(tree, settings, Machine(self.root), lambda: self.now)

    @property
    def file(self) -> Path:
        """The file it is kept in."""
        return self.root / "var/lib/lbhook/answer.json"

    def damage(self, **changed: Any) -> None:
        """Write other values into the file."""
        content = json.loads(self.file.read_bytes())
        self.file.write_text(json.dumps({**content, **changed}))


@pytest.fixture
def vm(tmp_path: Path) -> Vm:
    """A VM with both names, and no answer yet."""
    made = Vm(tmp_path)
    made.become(UUID)
    return made


def refusal(vm: Vm) -> tuple[str, ...]:
    """Why the last good answer is not used."""
    with pytest.raises(NoAnswerError) as caught:
        vm.last_good().load()
    assert caught.value.status == 75
    return tuple(problem.replace(f"{vm.file}: ", "") for problem in caught.value.problems)


def test_what_is_kept_is_found(vm: Vm, body: Body) -> None:
    """The body to the byte, with its time and the VM's identity."""
    vm.last_good().keep(body("documented"))
    assert json.loads(vm.file.read_bytes()) == {
        "version": 1,
        "fetched": 1_800_000_000,
        "uuid": UUID,
        "machine_id": MACHINE,
        "body": base64.b64encode(body("documented")).decode(),
        "instance": "",
    }
    assert vm.last_good().load() == Answer(
        metadata=parse(body("documented")), source="cache", age=0.0
    )
    assert vm.last_good().file == PurePosixPath("/var/lib/lbhook/answer.json")


def test_what_is_said_of_the_vm_is_kept_with_it(vm: Vm, body: Body) -> None:
    """`/metadata/instance` comes back with the answer, and stays if it was not asked again."""
    vm.last_good().keep(body("documented"), b'{"compute": {}}')
    assert vm.last_good().load().instance == b'{"compute": {}}'
    kept = vm.file.read_bytes()
    vm.last_good().keep(body("documented"))
    assert vm.file.read_bytes() == kept
    vm.last_good().keep(body("documented"), b'{"compute": {"name": "b"}}')
    assert vm.last_good().load().instance == b'{"compute": {"name": "b"}}'


def test_it_is_written_in_one_step(vm: Vm, body: Body) -> None:
    """Staged, synced, renamed: at no moment is there half a file, and nothing stays beside it."""
    vm.last_good().keep(body("documented"))
    old, steps = vm.file.read_bytes(), list[str]()
    vm.last_good(steps).keep(body("floating-ip"))
    assert steps == ["open", "write", "fchmod", "fsync", "rename", "fsync"]
    assert vm.file.read_bytes() != old
    assert [one.name for one in vm.file.parent.iterdir()] == ["answer.json"]
    assert vm.file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("stop", ["open", "write", "fchmod", "fsync", "rename"])
def test_a_kill_leaves_the_old_one(vm: Vm, body: Body, stop: str) -> None:
    """At any step before the rename, and at the rename itself."""
    vm.last_good().keep(body("documented"))

    def step(name: str, _: PurePosixPath) -> None:
        if name == stop:
            raise KeyboardInterrupt

    last = vm.last_good()
    killed = LastGood(Tree(vm.root, privileged=False, step=step), last.settings, last.machine)
    with pytest.raises(KeyboardInterrupt):
        killed.keep(body("floating-ip"))
    assert vm.last_good().load().metadata == parse(body("documented"))


def test_nothing_is_written_when_nothing_is_new(vm: Vm, body: Body) -> None:
    """The same body of the same VM, within a quarter of `stale_after` (seven days)."""
    vm.last_good().keep(body("documented"))
    steps: list[str] = []
    for later in (0.0, 60.0, 1.7 * DAY - 60.0):
        vm.now += later
        vm.last_good(steps).keep(body("documented"))
    assert steps == []
    assert vm.last_good().load().age == pytest.approx(1.7 * DAY)


def test_its_age_is_brought_up_to_date(vm: Vm, body: Body) -> None:
    """After a quarter of `stale_after`, and when the clock went back."""
    for moment in (vm.now, vm.now + 1.8 * DAY, vm.now + DAY):
        vm.now = moment
        vm.last_good().keep(body("documented"))
        assert json.loads(vm.file.read_bytes())["fetched"] == int(moment)


def test_a_new_body_is_written(vm: Vm, body: Body) -> None:
    """Whatever the age."""
    vm.last_good().keep(body("documented"))
    vm.last_good().keep(body("floating-ip"))
    assert vm.last_good().load().metadata == parse(body("floating-ip"))


def test_an_answer_has_an_age(vm: Vm, body: Body) -> None:
    """In seconds; never below zero, whatever the clock does."""
    vm.last_good().keep(body("documented"))
    vm.now += 90
    assert vm.last_good().load().age == 90.0
    vm.now -= 1000
    assert vm.last_good().load().age == 0.0


SAME = [UUID, UUID.lower(), UUID.title(), SWAPPED, SWAPPED.upper()]


@pytest.mark.parametrize("uuid", SAME)
@pytest.mark.parametrize("machine_id", [MACHINE, "f" * 32, None])
def test_the_uuid_tells_the_same_vm(vm: Vm, body: Body, uuid: str, machine_id: str | None) -> None:
    """In any case and in either byte order of its first three fields, whatever the machine id."""
    vm.last_good().keep(body("documented"))
    vm.become(uuid, machine_id)
    assert vm.last_good().load().metadata == parse(body("documented"))
    assert not vm.last_good().foreign()


@pytest.mark.parametrize("machine_id", [MACHINE, None])
def test_another_uuid_is_another_vm(vm: Vm, body: Body, machine_id: str | None) -> None:
    """Also with the same machine id: an image that was captured has it."""
    vm.last_good().keep(body("documented"))
    vm.become(OTHER, machine_id)
    assert refusal(vm) == ("another VM's answer; it is not used",)
    assert vm.last_good().foreign()


@pytest.mark.parametrize("kept", [UUID, None])
@pytest.mark.parametrize("now", [UUID, None])
def test_without_one_uuid_the_machine_id_tells(
    vm: Vm, body: Body, kept: str | None, now: str | None
) -> None:
    """Unprivileged, lbhook can't read the UUID: then the machine ids are compared."""
    vm.become(kept)
    vm.last_good().keep(body("documented"))
    vm.become(now)
    assert vm.last_good().load().metadata == parse(body("documented"))
    assert not vm.last_good().foreign()
    if kept and now:
        return
    vm.become(now, "f" * 32)
    assert refusal(vm) == ("another VM's answer; it is not used",)
    assert vm.last_good().foreign()


@pytest.mark.parametrize(
    ("kept", "now"),
    [
        ((None, None), (UUID, MACHINE)),
        ((UUID, None), (None, MACHINE)),
        ((None, MACHINE), (UUID, None)),
        ((None, None), (None, None)),
    ],
)
def test_with_neither_it_is_never_used(
    vm: Vm, body: Body, kept: tuple[str | None, str | None], now: tuple[str | None, str | None]
) -> None:
    """And that is said; but it is not certainly another VM's, so nothing is put to rest."""
    vm.become(*kept)
    vm.last_good().keep(body("documented"))
    vm.become(*now)
    assert refusal(vm) == ("neither UUID nor machine id can be compared; it is not used",)
    assert not vm.last_good().foreign()


@pytest.mark.parametrize("nobody", ["0" * 8 + "-0000-0000-0000-" + "0" * 12, "F" * 32, ""])
def test_a_uuid_of_nobody_is_none(vm: Vm, nobody: str) -> None:
    """Firmware that was given no UUID says zeros or Fs, on every such machine the same."""
    vm.become(nobody)
    assert vm.last_good().identity() == Identity(uuid="", machine_id=MACHINE)


def test_a_uuid_that_only_root_may_read_is_handed_over(
    vm: Vm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By systemd, as a credential; one that this process may read goes first."""
    handed = tmp_path / "credentials"
    handed.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    vm.become(None)
    for text, uuid in ((OTHER, OTHER), ("0", "")):
        (handed / "product_uuid").write_text(f"{text}\n")
        assert vm.last_good().identity() == Identity(uuid=uuid, machine_id=MACHINE)
    vm.become(UUID)
    assert vm.last_good().identity() == Identity(uuid=UUID, machine_id=MACHINE)


def test_less_identity_does_not_overwrite_more(vm: Vm, body: Body) -> None:
    """An unprivileged fetch of the same body leaves the UUID in; a privileged one adds it."""
    vm.become(None)
    vm.last_good().keep(body("documented"))
    vm.become(UUID)
    vm.last_good().keep(body("documented"))
    assert json.loads(vm.file.read_bytes())["uuid"] == UUID
    steps: list[str] = []
    vm.become(None)
    vm.last_good(steps).keep(body("documented"))
    assert (steps, json.loads(vm.file.read_bytes())["uuid"]) == ([], UUID)


def test_another_vms_answer_is_replaced(vm: Vm, body: Body) -> None:
    """The same body, but of this VM now."""
    vm.last_good().keep(body("documented"))
    vm.become(OTHER)
    vm.last_good().keep(body("documented"))
    assert not vm.last_good().foreign()
    assert vm.last_good().load().source == "cache"


def test_there_is_none_yet(vm: Vm) -> None:
    """Said by load, not by find: it is no fault."""
    said: list[str] = []
    assert refusal(vm) == ("there is no last good answer yet",)
    assert vm.last_good().find(said.append) is None
    assert (said, vm.last_good().foreign()) == ([], False)


DAMAGED = re.compile(r"the last good answer is damaged: .+; it is not used")
NEWER = "the last good answer is written by a newer lbhook, as version 2; it is not used"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"5",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": 1}',
        b"\x00" * 4096,
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_damaged_file_is_reported_and_ignored(vm: Vm, body: Body, content: bytes) -> None:
    """Power failed, or somebody edited it: as if there were none, and the next one is kept."""
    vm.last_good().keep(body("documented"))
    vm.file.write_bytes(content)
    [problem] = refusal(vm)
    assert DAMAGED.fullmatch(problem)
    said: list[str] = []
    assert vm.last_good().find(said.append) is None
    assert said == [f"{vm.file}: {problem}"]
    assert not vm.last_good().foreign()
    vm.last_good().keep(body("documented"))
    assert vm.last_good().find(said.append)
    assert len(said) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"version": 2},
        {"fetched": "soon"},
        {"fetched": float("nan")},
        {"fetched": float("inf")},
        {"fetched": 10**400},
        {"fetched": None},
        {"body": "%%%"},
        {"body": 5},
        {"body": "é"},
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_damaged_value_is_reported_and_ignored(
    vm: Vm, body: Body, changed: dict[str, Any]
) -> None:
    """One wrong value spoils it all."""
    vm.last_good().keep(body("documented"))
    vm.damage(**changed)
    [problem] = refusal(vm)
    assert problem == NEWER if "version" in changed else DAMAGED.fullmatch(problem)


def test_a_kept_body_is_read_as_strictly_as_a_new_one(vm: Vm) -> None:
    """A newer lbhook may refuse what an older one kept; each problem is told."""
    lists: dict[str, object] = {"publicIpAddresses": 1, "inboundRules": 2, "outboundRules": []}
    vm.last_good().keep(json.dumps({"loadbalancer": lists}).encode())
    assert refusal(vm) == (
        "loadbalancer.publicIpAddresses: 1 is not a list",
        "loadbalancer.inboundRules: 2 is not a list",
    )
    said: list[str] = []
    assert vm.last_good().find(said.append) is None
    assert len(said) == 2


def test_a_directory_in_its_place_is_reported(vm: Vm) -> None:
    """Not a file that lbhook could have written."""
    vm.file.mkdir(parents=True)
    assert refusal(vm) == ("is not a regular file; it is not used",)


def test_find_gives_what_load_gives(vm: Vm, body: Body) -> None:
    """And says nothing."""
    said: list[str] = []
    vm.last_good().keep(body("documented"))
    assert vm.last_good().find(said.append) == vm.last_good().load()
    assert said == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (86400 * 9, "9 d")],
)
def test_an_age_in_words(seconds: float, text: str) -> None:
    """To one unit."""
    assert describe_age(seconds) == text
