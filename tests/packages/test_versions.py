"""What has to be said in more than one place."""

import re

from lbhook import __version__

from ..program import REPO


def test_the_version_is_one() -> None:
    """Of the program, the Debian package and the RPM."""
    changelog = (REPO / "debian/changelog").read_text()
    spec = (REPO / "packaging/lbhook.spec").read_text()
    assert re.findall(r"^lbhook \((.+)-1\)", changelog)[0] == __version__
    assert re.findall(r"^Version: +(.+)$", spec, re.M) == [__version__]
    assert re.findall(r"^\* .+> - (.+)-1$", spec, re.M)[0] == __version__


def test_the_single_file_has_what_lbhook_needs() -> None:
    """Each dependency of the project is pinned, and so is what they need, but for certifi."""
    project = (REPO / "pyproject.toml").read_text().split("dependencies = [")[1].split("]")[0]
    direct = set(re.findall(r'"(\w+)', project))
    pinned = set(re.findall(r"^([\w-]+)==", (REPO / "packaging/pyz.txt").read_text(), re.M))
    theirs = {"markupsafe", "charset-normalizer", "idna", "urllib3"}
    assert pinned == direct | theirs


def test_the_packages_ask_for_what_lbhook_needs() -> None:
    """The RPM has the bounds of the project; the Debian package takes them from it."""
    spec = (REPO / "packaging/lbhook.spec").read_text()
    project = (REPO / "pyproject.toml").read_text()
    for name, bound in re.findall(
        r'^  "(\w+)>=([\d.]+)",$', project.split("[project.opt")[0], re.M
    ):
        assert re.search(rf"^Requires: +python3-{name} >= {re.escape(bound)}$", spec, re.M)
    assert 'requires-python = ">=3.10"' in project
    assert "Requires:       python3 >= 3.10\n" in spec
