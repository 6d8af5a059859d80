"""firewalld's own checker, and what is asked of a firewalld that runs.

The running one, with packets, is in tests/lab/test_firewalld.py.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from lbhook.config.targets import Target
from lbhook.errors import WriteError
from lbhook.processes import Result, run
from lbhook.programs.firewalld import Firewalld
from lbhook.rendering.fingerprint import SHIPPED_TEMPLATES

from ..conftest import lacking
from ..stand import Answers, Runner

needs_firewalld = pytest.mark.needs("firewall-offline-cmd", "unshare")
RESTING = (SHIPPED_TEMPLATES / "lbhook.xml.resting.j2").read_text(encoding="utf-8")
BAD = "<zone><no-such-element/></zone>"
RULE = """
  <rule family="ipv4">
    <destination address="{}"/>
    <port port="{}" protocol="tcp"/>
    <accept/>
  </rule>
"""


def target(name: str = "lbhook") -> Target:
    """A policy of that name."""
    path = PurePosixPath(f"/etc/firewalld/policies/{name}.xml")
    return Target(name="firewalld", kind="firewalld", template="t", path=path)


def policy(address: str = "10.0.0.4/32", port: str = "443") -> str:
    """A policy with one rule."""
    return RESTING.replace("</policy>", f"{RULE.format(address, port)}</policy>")


def checked(place: Path, text: str, name: str = "lbhook") -> Result:
    """What the real checker says of a policy by itself, to this user."""
    candidate = place / ".candidate"
    candidate.write_text(text)
    result = Firewalld(run, os.geteuid() == 0).check(target(name), candidate)
    if result.output.startswith("unshare:"):
        lacking("not root, and no user namespaces")
    return result


@needs_firewalld
def test_a_policy_is_checked_by_itself(tmp_path: Path) -> None:
    """Whether or not this machine has that address, and without a word about anything else."""
    for text in (RESTING, policy(), policy().replace("443", "1-65535")):
        result = checked(tmp_path, text)
        assert (result.status, result.output) == (0, "")


@needs_firewalld
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (policy()[:-20], "not a valid policy file"),
        (policy().replace("accept", "acept"), "Unexpected element acept"),
        (policy().replace("ANY", "nowhere"), "'nowhere' not among existing zones"),
        (policy(port="70000"), "INVALID_PORT: 70000"),
        (policy(address="10.0.0.400"), "INVALID_ADDR: 10.0.0.400"),
        (policy(address="fd00::4"), "INVALID_ADDR: fd00::4"),
        (policy().replace("<accept/>", "<accept/><drop/>"), "More than one action"),
    ],
)
def test_a_bad_policy_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Also one of which firewalld would only leave out a rule, which for its checker is good."""
    result = checked(tmp_path, text)
    assert not result.ok
    assert said in result.output
    assert result.argv[-2:] == ("firewall-offline-cmd", "--check-config")


@needs_firewalld
def test_a_rule_that_is_there_twice_is_no_mistake(tmp_path: Path) -> None:
    """firewalld leaves out the second, and misses nothing."""
    rule = RULE.format("10.0.0.4", 443)
    assert checked(tmp_path, RESTING.replace("</policy>", f"{rule}{rule}</policy>")).ok


@needs_firewalld
def test_the_name_of_a_policy_is_checked_too(tmp_path: Path) -> None:
    """It is the name of the file, and firewalld wants a short one."""
    assert checked(tmp_path, policy(), "other").ok
    assert "max is" in checked(tmp_path, policy(), "a-name-that-is-too-long").output


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """What stands for /etc/firewalld: a policy of lbhook's, and a link to nowhere."""
    etc = tmp_path / "etc"
    for name in ("policies", "zones"):
        (etc / name).mkdir(parents=True)
    (etc / "firewalld.conf").write_text("DefaultZone=public\n")
    (etc / "policies/lbhook.xml").write_text(policy())
    (etc / "zones/gone.xml").symlink_to("/nowhere")
    return etc


def among_others(etc: Path, candidates: Mapping[str, str]) -> Result:
    """What the real checker says of the whole configuration with these in it."""
    files = {}
    for number, (name, text) in enumerate(candidates.items()):
        path = str(target(name).path)
        files[path] = etc.parent / str(number)
        files[path].write_text(text)
    firewalld = Firewalld(run, os.geteuid() == 0, etc)
    result, included = firewalld.check_live(files, 30)
    assert included == frozenset(files)
    if result.output.startswith("unshare:"):
        lacking("not root, and no user namespaces")
    return result


@needs_firewalld
def test_a_candidate_is_tested_among_the_others(etc: Path) -> None:
    """Where the live file stays as it is."""
    assert among_others(etc, {"lbhook": RESTING, "other": policy()}).ok
    assert not among_others(etc, {"lbhook": RESTING, "other": policy()[:-20]}).ok
    assert (etc / "policies/lbhook.xml").read_text() == policy()
    assert not (etc / "policies/other.xml").exists()


@needs_firewalld
def test_somebody_elses_mistake_is_found(etc: Path) -> None:
    """firewalld would refuse to reload."""
    (etc / "zones/own.xml").write_text(BAD)
    assert "Unexpected element no-such-element" in among_others(etc, {"lbhook": policy()}).output


@needs_firewalld
def test_a_firewalld_without_a_configuration_of_its_own(tmp_path: Path) -> None:
    """Its directory was removed, and what its package ships counts: a plan is no less possible."""
    assert among_others(tmp_path / "none", {"lbhook": policy()}).ok


def test_what_of_a_configuration_can_not_be_copied(tmp_path: Path) -> None:
    """What is gone meanwhile is none of it; what can't be read is named."""
    (tmp_path / "gone.xml").symlink_to("nowhere")
    checker = Firewalld(Runner(), configuration=tmp_path)
    assert checker.check_live({}, 30.0)[0].ok
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WriteError) as caught:
        checker.check_live({}, 30.0)
    assert caught.value.problems == (f"{tmp_path}/pipe: `{tmp_path}/pipe` is a named pipe",)


def test_the_configuration_as_it_stands_is_asked_for() -> None:
    """With the same checker, which needs no copy then."""
    runner = Runner(lambda _: (28, "bad"))
    assert Firewalld(runner).check_present(30).output == "bad"
    assert runner.taken() == ["firewall-offline-cmd --check-config"]


NFT = "nft --stateless --terse list ruleset"
LISTED = "table inet firewalld {\n\tchain filter_IN_policy_web_allow {\n\t}\n}\n"
CMD = "firewall-cmd --info-policy=web"


def in_force(answers: Answers) -> tuple[str, list[str]]:
    """What shows that the policy `web` is not in force, and what was asked."""
    runner = Runner(answers)
    return Firewalld(runner).verify(target("web"), b"", 1), runner.taken()


def test_a_policy_that_the_kernel_has_is_in_force() -> None:
    """The slower question is not asked."""
    assert in_force(lambda _: (0, LISTED)) == ("", [NFT])


def test_a_policy_that_firewalld_has_elsewhere_is_in_force() -> None:
    """With iptables behind it, nft shows nothing."""
    answers = {
        "nft": (0, LISTED.replace("web", "db")),
        "firewall-cmd": (0, "web (active)\n  priority: -10\n"),
    }
    assert in_force(lambda argv: answers[argv[0]]) == ("", [NFT, CMD])


@pytest.mark.parametrize("told", [(140, "Error: INVALID_POLICY: web"), (0, "web\n  priority: 0\n")])
def test_a_policy_that_firewalld_has_not_is_not(told: tuple[int, str]) -> None:
    """Or has, but inactive."""
    answers = {"nft": (0, LISTED.replace("web", "db")), "firewall-cmd": told}
    problem, _ = in_force(lambda argv: answers[argv[0]])
    assert problem == "firewalld has no active policy web"
