"""What root obeys must be root's."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from lbhook.config import permissions
from lbhook.config import settings as config
from lbhook.config.settings import Settings
from lbhook.errors import RightsError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="not root: there is no such test")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of root's, with a configuration and templates."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "templates").mkdir()
        (place / "templates/motd.j2").write_text("x\n")
        (place / "templates/part.j2").write_text("x\n")
        (place / "lbhook.toml").write_text("")
        yield place


def settings(place: Path) -> Settings:
    """Settings with one target of the user's own."""
    text = '[targets.motd]\ntemplate = "motd.j2"\npath = "/etc/motd"\n'
    loaded = config.parse(f'[paths]\ntemplates = ["{place}/templates"]\n{text}')
    return loaded._replace(files=(place / "lbhook.toml",))


def problems(place: Path) -> tuple[str, ...]:
    """What is wrong with it."""
    with pytest.raises(RightsError) as caught:
        permissions.demand(settings(place))
    assert caught.value.hint == "whoever can write these files could make root run them"
    return caught.value.problems


def test_what_is_roots_passes(place: Path) -> None:
    """Readable by everybody is fine, and so is a group of root's."""
    (place / "lbhook.toml").chmod(0o664)
    permissions.demand(settings(place))


@pytest.mark.parametrize("name", ["lbhook.toml", "templates/motd.j2", "templates/part.j2"])
def test_a_file_of_another_user(place: Path, name: str) -> None:
    """Configuration, template, and one that the template may include."""
    os.chown(place / name, 65534, 0)
    assert problems(place) == (
        f"{place}/{name}: belongs to uid 65534; run `chown root {place}/{name}`",
    )


def test_a_file_that_others_can_write(place: Path) -> None:
    """With the command that fixes it."""
    (place / "lbhook.toml").chmod(0o646)
    file = f"{place}/lbhook.toml"
    assert problems(place) == (f"{file}: can be written by others; run `chmod go-w {file}`",)


def test_a_file_that_a_group_can_write(place: Path) -> None:
    """A group other than root's."""
    os.chown(place / "templates/motd.j2", 0, 65534)
    (place / "templates/motd.j2").chmod(0o664)
    file = f"{place}/templates/motd.j2"
    assert problems(place) == (f"{file}: can be written by a group; run `chmod g-w {file}`",)


def test_a_directory_that_others_can_write(place: Path) -> None:
    """A sticky one passes: nobody can rename there what is root's."""
    (place / "templates").chmod(0o777)
    file = f"{place}/templates"
    assert problems(place) == (f"{file}: can be written by others; run `chmod go-w {file}`",)
    (place / "templates").chmod(0o1777)
    permissions.demand(settings(place))


def test_all_problems_come_together(place: Path) -> None:
    """Each file once."""
    for name in ("lbhook.toml", "templates/motd.j2"):
        (place / name).chmod(0o666)
    assert len(problems(place)) == 2


def test_a_target_that_is_off_does_not_count_nor_a_place_that_is_not_there(place: Path) -> None:
    """Only what decides what is written."""
    paths = settings(place).paths._replace(templates=(PurePosixPath(place / "nowhere"),))
    permissions.demand(settings(place)._replace(paths=paths))


def test_what_a_template_may_include_is_a_template(place: Path) -> None:
    """Whatever it is called."""
    part = place / "templates/part.txt"
    part.write_text("x\n")
    part.chmod(0o666)
    assert problems(place) == (f"{part}: can be written by others; run `chmod go-w {part}`",)


@pytest.mark.parametrize("name", ["templates", "lbhook.toml.d"])
def test_where_more_may_come_is_roots(place: Path, name: str) -> None:
    """A directory with nothing in it yet, which is read when the answer is there."""
    directory = place / name
    directory.mkdir(exist_ok=True)
    for file in directory.iterdir():
        file.unlink()
    directory.chmod(0o777)
    assert problems(place) == (
        f"{directory}: can be written by others; run `chmod go-w {directory}`",
    )


def test_where_a_link_leads_to_is_roots(place: Path) -> None:
    """Who owns that directory can put another file there."""
    other = place / "other"
    other.mkdir()
    (place / "lbhook.toml").rename(other / "lbhook.toml")
    (place / "lbhook.toml").symlink_to(other / "lbhook.toml")
    os.chown(other, 1000, 1000)
    assert problems(place) == (f"{other}: belongs to uid 1000; run `chown root {other}`",)


def test_what_everybody_can_read(tmp_path: Path) -> None:
    """A file; a directory that is listed, and one that is only entered."""
    file = tmp_path / "vm.toml"
    file.write_text("")
    for mode, entered, found in ((0o640, False, False), (0o644, False, True)):
        file.chmod(mode)
        assert permissions.open_to_all(file, entered=entered) is found
    for mode, entered, found in ((0o750, True, False), (0o711, True, True), (0o711, False, False)):
        tmp_path.chmod(mode)
        assert permissions.open_to_all(tmp_path, entered=entered) is found
