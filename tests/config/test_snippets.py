"""Lines of one's own for the firewall: which files they are in, and what they may say."""

import os
from pathlib import Path, PurePosixPath

import pytest

from lbhook.config import permissions, snippets
from lbhook.config import settings as config
from lbhook.config.targets import Target
from lbhook.errors import ConfigError, RightsError

RULE = "ip saddr 192.0.2.0/24 tcp dport 9100 counter accept\n"


def firewall(place: Path) -> Target:
    """The firewall with what is in a directory."""
    found = next(one for one in config.parse("").targets if one.name == "nftables")
    return snippets.with_snippets(found, place)


def problems(place: Path) -> list[str]:
    """What is wrong with it, without the name of the directory."""
    with pytest.raises(ConfigError) as caught:
        firewall(place)
    assert caught.value.hint == "the firewall was not changed"
    return [one.removeprefix(f"{place}/") for one in caught.value.problems]


def test_each_place_has_its_own_in_order_of_name(tmp_path: Path) -> None:
    """Lines as they are; what says nothing is none."""
    for name, text in {
        "input-20.nft": "drop\r\n",
        "input-10.nft": f"{RULE}\n# more\n\n",
        "input.nft": "\n  \n",
        "prerouting-a.b_c.nft": "accept  \n",
    }.items():
        (tmp_path / name).write_text(text)
    assert firewall(tmp_path).vars["snippets"] == {
        "input": (
            {"file": f"{tmp_path}/input-10.nft", "lines": (RULE.strip(), "", "# more")},
            {"file": f"{tmp_path}/input-20.nft", "lines": ("drop",)},
        ),
        "prerouting": ({"file": f"{tmp_path}/prerouting-a.b_c.nft", "lines": ("accept",)},),
    }


def test_without_any_the_firewall_is_as_it_was(tmp_path: Path) -> None:
    """No directory, an empty one, and another target; nothing that is recorded differs."""
    plain = next(one for one in config.parse("").targets if one.name == "nftables")
    assert firewall(tmp_path / "nowhere") == firewall(tmp_path) == plain
    (tmp_path / "input.nft").write_text(RULE)
    other = next(one for one in config.parse("").targets if one.name == "nginx")
    assert snippets.with_snippets(other, tmp_path) == other


def test_what_lies_beside_them_is_none(tmp_path: Path) -> None:
    """What editors and packages leave, and hidden files, whatever is in them."""
    names = ("input.nft~", ".input.nft", "input.nft.dpkg-old", "#input.nft#", ".input.nft.swp")
    for name in (*names, "README"):
        (tmp_path / name).write_text("}")
    assert "snippets" not in firewall(tmp_path).vars


@pytest.mark.parametrize("name", ["office.nft", "forward.nft", "input_a.nft", "input-\n.nft"])
def test_a_name_without_a_place(tmp_path: Path, name: str) -> None:
    """It would be in no chain, and nobody would know."""
    (tmp_path / name).write_text(RULE)
    (found,) = problems(tmp_path)
    said = "its name has no place; call it input-NAME.nft or prerouting-NAME.nft"
    assert found.endswith(f": {said}")
    assert "\n" not in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("}", "1: a } too many: a snippet is rules of one chain"),
        (
            "accept\n}\ntable ip other {\nchain x {\n",
            "2: a } too many: a snippet is rules of one chain",
        ),
        ("tcp dport { 80, 443 accept", "1: a { that is not closed"),
        ('accept comment "one', "1: a string that does not end in its line"),
        ('# fine "\naccept comment "a } b"\ndrop "', "3: a string that does not end in its line"),
        ("accept \\", "1: its last line goes on"),
        ('\n\ninclude "/etc/x.nft"', "3: include is no rule: a snippet is rules of one chain"),
        ('accept; include "x"', "1: include is no rule: a snippet is rules of one chain"),
        ("policy accept", "1: policy is no rule: a snippet is rules of one chain"),
        (
            "drop; type filter hook input priority 0",
            "1: type is no rule: a snippet is rules of one chain",
        ),
        ("accept\x1b[2J", "1: characters that can't be printed"),
        ("accept \ue000", "1: characters that can't be printed"),
    ],
)
def test_what_reaches_beyond_its_chain(tmp_path: Path, text: str, problem: str) -> None:
    """Named with its line; nft is not even asked."""
    (tmp_path / "input.nft").write_bytes(text.encode())
    assert problems(tmp_path)[0] == f"input.nft:{problem}"


def test_what_only_looks_like_it(tmp_path: Path) -> None:
    """Braces of sets over several lines, in strings and in comments; a port called a type."""
    text = 'tcp dport { 80,\n 443 } accept comment "} include" # }\nicmp type echo-request drop\n'
    (tmp_path / "input.nft").write_text(text)
    assert len(firewall(tmp_path).vars["snippets"]["input"][0]["lines"]) == 3


def test_files_that_are_none(tmp_path: Path) -> None:
    """A directory, a pipe, a link to nowhere, bytes, and too many of them: all at once, and
    nothing is waited for."""
    (tmp_path / "input-a.nft").mkdir()
    os.mkfifo(tmp_path / "input-b.nft")
    (tmp_path / "input-c.nft").symlink_to("nowhere")
    (tmp_path / "input-d.nft").write_bytes(b"accept # \xff\n")
    (tmp_path / "input-e.nft").write_bytes(b"accept\n" * 10000)
    assert problems(tmp_path) == [
        "input-a.nft: Is a directory",
        "input-b.nft: is not a file",
        "input-c.nft: No such file or directory",
        "input-d.nft: not UTF-8 at byte 9",
        "input-e.nft: more than 64 KiB, which is as many as a snippet may have",
    ]


def test_a_link_to_a_file_is_one(tmp_path: Path) -> None:
    """Where configuration management keeps it elsewhere."""
    (tmp_path / "there").write_text(RULE)
    (tmp_path / "input.nft").symlink_to("there")
    assert firewall(tmp_path).vars["snippets"]["input"][0]["lines"] == (RULE.strip(),)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: there is no such test")
def test_only_root_may_write_them(tmp_path: Path) -> None:
    """The directory, a file, what a link leads to; not where the firewall is off."""
    place, elsewhere = tmp_path / "nftables.d", tmp_path / "elsewhere"
    for directory in (tmp_path, place, elsewhere):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
    (elsewhere / "mine.nft").write_text(RULE)
    (place / "input-link.nft").symlink_to(elsewhere / "mine.nft")
    (place / "input.nft").write_text(RULE)
    (place / "input.nft~").write_text(RULE)
    (place / "input.nft~").chmod(0o666)
    head = f'[paths]\ntemplates = []\nsnippets = "{place}"\n'
    settings = config.parse(f"{head}[targets.nftables]\n")
    permissions.demand(settings)
    (place / "input.nft").chmod(0o646)
    os.chown(elsewhere / "mine.nft", 65534, 0)
    elsewhere.chmod(0o777)
    with pytest.raises(RightsError) as caught:
        permissions.demand(settings)
    assert sorted(caught.value.problems) == sorted(
        (
            f"{place}/input.nft: can be written by others; run `chmod go-w {place}/input.nft`",
            f"{place}/input-link.nft: belongs to uid 65534;"
            f" run `chown root {place}/input-link.nft`",
            f"{elsewhere}: can be written by others; run `chmod go-w {elsewhere}`",
        )
    )
    permissions.demand(config.parse(head))


def test_the_place_is_a_setting() -> None:
    """For a configuration of one's own."""
    found = config.parse('[paths]\nsnippets = "/srv/nft"\n').paths.snippets
    assert found == PurePosixPath("/srv/nft")


def test_a_line_of_the_rendered_file_is_one_of_a_snippet() -> None:
    """Counted from its own beginning; what stands before, between and after is none's."""
    lines = [
        *("table", "\t\t# /a/input-x.nft, line by line:", "\t\tone", "\t\ttwo"),
        *("\t\t# end of /a/input-x.nft", "", "drop"),
        *("\t\t# /a/input-y.nft, line by line:", "\t\tthree", "\t\t# end of /a/input-y.nft"),
    ]
    found = [snippets.origin(lines, number) for number in range(1, len(lines) + 1)]
    assert found == [
        *("", "", "/a/input-x.nft:1", "/a/input-x.nft:2", "/a/input-x.nft:3", "", "", ""),
        *("/a/input-y.nft:1", "/a/input-y.nft:2"),
    ]
