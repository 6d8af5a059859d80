"""The frontend addresses of Floating IP rules, on the loopback interface of a real machine."""

from __future__ import annotations

import json

import pytest

from .fabric import CLIENT4, CLIENT6, IMDS, body, rule
from .knock import Target, one, states
from .lab import Lab
from .rules import FRONT4, FRONT6, WEB

SETTINGS = "[targets.floating-ip]\n[targets.nftables]\n[targets.nginx]\n"
FLOATING = (rule(FRONT4, 99, FRONT4, 99), rule(FRONT6, 99, FRONT6, 99))
LIST = "/run/lbhook/floating-ips"


@pytest.fixture
def floating(lab: Lab) -> Lab:
    """The laboratory with the target named, and Floating IP rules for both families."""
    lab.vm.write("/etc/lbhook/lbhook.toml", SETTINGS)
    lab.balance(body(*WEB, *FLOATING))
    return lab


def loopback(lab: Lab) -> dict[str, int]:
    """The addresses of the VM's loopback interface but its own, with the length of their prefix."""
    said = json.loads(lab.vm.run(["ip", "-json", "address", "show", "dev", "lo"]).stdout)
    found = {it["local"]: it["prefixlen"] for it in said[0]["addr_info"]}
    return {ip: length for ip, length in found.items() if ip not in ("127.0.0.1", "::1")}


def test_a_program_that_binds_the_frontend_address_answers(floating: Lab) -> None:
    """Azure sends packets to the frontend address itself, and nginx listens there, after one
    apply: `nginx -t` binds it, so it is there before the check."""
    done = floating.vm.apply()
    assert (done["outcome"], done["problems"]) == ("changed", [])
    assert loopback(floating) == {FRONT4: 32, FRONT6: 128}
    answers = [one(floating.client, "tcp", front, 99).reply for front in (FRONT4, FRONT6)]
    assert answers[0].endswith(f"\n{CLIENT4} {FRONT4}:99\n")
    assert answers[1].endswith(f"\n{CLIENT6} {FRONT6}:99\n")
    others = [Target("tcp", ip, 9000) for ip in (FRONT4, FRONT6)]
    assert states(floating.client, *others) == {"filtered"}


def test_a_plan_adds_nothing_and_says_what_apply_does(floating: Lab) -> None:
    """Without the addresses `nginx -t` can't bind; that they come is known."""
    planned = json.loads(floating.vm.lbhook("plan", "--json").stdout)
    assert loopback(floating) == {}
    wanted = [(it["name"], it["outcome"]) for it in planned["targets"]]
    assert wanted == [
        *(("env", "created"), ("floating-ip", "created")),
        *(("nftables", "created"), ("nginx", "changed")),
    ]
    done = floating.vm.apply()
    assert [(it["name"], it["outcome"]) for it in done["targets"]] == wanted


def test_only_its_own_are_taken_away(floating: Lab) -> None:
    """An address that was there before stays when its rule goes; lbhook's own goes."""
    floating.vm.links(f"addr add {FRONT4}/32 dev lo")
    floating.vm.apply()
    assert loopback(floating) == {FRONT4: 32, FRONT6: 128}
    floating.balance(body(*WEB))
    floating.vm.apply()
    assert loopback(floating) == {FRONT4: 32}


def test_nothing_to_do_nothing_done(floating: Lab) -> None:
    """A second apply finds everything in place."""
    floating.vm.apply()
    done = floating.vm.apply()
    assert done["outcome"] == "unchanged"
    assert {it["reload"] for it in done["targets"]} == {"none"}


def test_what_somebody_took_away_comes_back(floating: Lab) -> None:
    """No file differs; the loopback interface does."""
    floating.vm.apply()
    floating.vm.links(f"addr del {FRONT4}/32 dev lo")
    planned = floating.vm.lbhook("plan", "--exit-code", check=False)
    assert (planned.returncode, f"lacks {FRONT4}" in planned.stdout) == (1, True)
    done = floating.vm.apply()
    assert done["outcome"] == "changed"
    assert loopback(floating) == {FRONT4: 32, FRONT6: 128}


def test_a_check_that_refuses_takes_them_away_again(floating: Lab) -> None:
    """They are there for the check, and go with it; another target's trouble is none of theirs."""
    listen = '[targets.nginx.vars]\nlisten = "address"\nparameters = "default_server backlog=x"\n'
    floating.vm.write("/etc/lbhook/lbhook.toml", SETTINGS + listen)
    done = floating.vm.lbhook("apply", check=False)
    assert done.returncode == 78, done.stderr
    assert loopback(floating) == {}
    floating.vm.write(
        "/etc/lbhook/lbhook.toml",
        SETTINGS + '[targets.own]\ntemplate = "lb.env.j2"\npath = "/run/own"\nreload = ["false"]\n',
    )
    done = floating.vm.lbhook("apply", check=False)
    assert done.returncode == 69, done.stderr
    assert loopback(floating) == {FRONT4: 32, FRONT6: 128}
    assert not floating.vm.path("/run/own").exists()


def test_without_reloads_they_are_lent_for_the_check_alone(floating: Lab) -> None:
    """`--no-reload` installs the files; the addresses are owed, and the next run pays."""
    done = floating.vm.apply("--no-reload")
    reloads = {it["name"]: it["reload"] for it in done["targets"]}
    assert (reloads["floating-ip"], reloads["nginx"]) == ("owed", "owed")
    assert loopback(floating) == {}
    floating.vm.apply()
    assert loopback(floating) == {FRONT4: 32, FRONT6: 128}


@pytest.mark.parametrize("how", ["dropped", "cleaned", "edited"])
def test_undone_it_leaves_no_address(floating: Lab, how: str) -> None:
    """Dropped from the configuration, its file edited before or not, or cleaned."""
    floating.vm.apply()
    if how == "cleaned":
        floating.vm.lbhook("clean")
    else:
        if how == "edited":
            floating.vm.write(LIST, "192.0.2.1\n")
        floating.vm.write("/etc/lbhook/lbhook.toml", "[targets.nftables]\n[targets.nginx]\n")
        floating.vm.apply()
    assert loopback(floating) == {}


def test_after_a_boot_they_are_there_without_an_answer(floating: Lab) -> None:
    """/run is empty and the addresses are gone; the last good answer brings both back."""
    floating.vm.apply()
    floating.vm.links(f"addr del {FRONT4}/32 dev lo\naddr del {FRONT6}/128 dev lo")
    floating.vm.run(["sh", "-c", "rm -r /run/lbhook"])
    floating.fabric.links(f"addr del {IMDS}/32 dev lo")
    done = floating.vm.lbhook("apply", "--wait", "0", check=False)
    assert done.returncode == 75, done.stderr
    assert loopback(floating) == {FRONT4: 32, FRONT6: 128}
