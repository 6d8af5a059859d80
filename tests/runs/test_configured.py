"""Rules by configuration stand beside an answer, and without one; everybody sees whose they are."""

import json
from pathlib import Path

from lbhook.deployment import report
from lbhook.deployment.report import restored_text
from lbhook.metadata.body import parse
from lbhook.metadata.configured import inbound, merged
from lbhook.metadata.facts import derive
from lbhook.runs.restoration import Restoration
from lbhook.traffic import diagram
from lbhook.traffic.paths import rules_only

from ..program import Desk
from ..stand import NO_ENV, Stand, body, target

CONFIGURED = """
[rules.global]
frontend_ip = "52.1.2.3"
protocol = "tcp"
frontend_port = 443
floating_ip = true
"""
ONE = NO_ENV + target("one")
FILE = "/etc/one"


def test_beside_an_answer(stand: Stand) -> None:
    """Both are in force; what is dropped from the configuration is gone."""
    stand.apply(stand.settings(ONE + CONFIGURED), body(80))
    assert stand.text(FILE) == "80\n443\n"
    stand.apply(stand.settings(ONE), body(80))
    assert stand.text(FILE) == "80\n"


def test_without_any_answer(stand: Stand) -> None:
    """At a first boot without IMDS they are in force, and no run says that all is well."""
    result = stand.apply(stand.settings(ONE + CONFIGURED), None)
    assert (stand.text(FILE), result.status) == ("443\n", 75)
    assert "no answer yet: only the rules of the configuration are in force" in stand.warnings


def test_in_place_of_a_resting_form(stand: Stand) -> None:
    """Which an installation has laid down; what is not at rest stays as it is."""
    stand.put(FILE, "none\n")
    stand.apply(stand.settings(ONE + CONFIGURED), None)
    assert stand.text(FILE) == "443\n"
    stand.put(FILE, "8080\n")
    stand.apply(stand.settings(ONE + CONFIGURED), None)
    assert stand.text(FILE) == "8080\n"


def test_without_a_new_answer_the_last_good_one_stands_too(stand: Stand) -> None:
    """A failure takes nothing of Azure's away; with `--cached` an edit is followed."""
    from lbhook.context import Options

    settings = stand.settings(ONE + CONFIGURED)
    stand.update(settings, None).fetcher.last_good.keep(body(80))
    stand.apply(settings, None)
    assert stand.text(FILE) == "80\n443\n"
    edited = stand.settings(ONE + CONFIGURED.replace("443", "444"))
    stand.apply(edited, None)
    assert stand.text(FILE) == "80\n443\n"
    stand.apply(edited, None, Options(cached=True))
    assert stand.text(FILE) == "80\n444\n"


def test_before_there_is_a_network(stand: Stand) -> None:
    """`restore` makes the early files from them where there was no answer yet."""
    settings = stand.settings(CONFIGURED)
    env = Restoration(stand.update(settings, None).context).carry_out()
    assert env.status == 0
    assert restored_text(env).endswith("restored: 1 inbound rule of the configuration\n")
    text = stand.text("/run/lbhook/lb.env") or ""
    assert "LB_TCP_PORTS=443\n" in text
    assert "LB_INBOUND_0=tcp,52.1.2.3,443,52.1.2.3,443\n" in text


def test_restore_says_whose_rules_they_are(stand: Stand) -> None:
    """Azure's by the last good answer, and the configuration's."""
    settings = stand.settings(CONFIGURED)
    stand.update(settings, None).fetcher.last_good.keep(body(80))
    again = Restoration(stand.update(settings, None).context).carry_out()
    whose = "2 inbound rules of the last good answer and the configuration\n"
    assert restored_text(again).endswith(f"restored: {whose}")


def test_they_are_no_load_balancer(tmp_path: Path) -> None:
    """`--require-lb` asks for Azure's."""
    desk = Desk(tmp_path)
    desk.configure(CONFIGURED)
    (tmp_path / "empty.json").write_bytes(body())
    ended = desk.run("show", "--metadata", str(tmp_path / "empty.json"), "--require-lb")
    assert ended.status == 66


def test_whose_they_are_is_seen(tmp_path: Path) -> None:
    """In `show`, its JSON, `explain` and `plan`."""
    desk = Desk(tmp_path)
    desk.configure(CONFIGURED)
    shown = desk.run("show").out
    assert "by configuration" in shown
    value = json.loads(desk.run("show", "--json").out)
    assert [one.get("by_configuration") for one in value["inbound_rules"]].count("global") == 1
    line = "tcp 52.1.2.3:443 → 52.1.2.3:443, by configuration: rules.global"
    assert f"# {line}\n" in desk.run("plan").out
    assert json.loads(desk.run("plan", "--json").out)["by_configuration"] == [line]
    assert line in desk.run("explain", "env").out


def test_one_that_azure_has_too_is_azure_s() -> None:
    """It is one rule, and needs no word of the configuration."""
    from lbhook.config import settings

    rule = (
        CONFIGURED.replace("52.1.2.3", "50.0.0.1")
        .replace("floating_ip = true", "")
        .replace("443", "80")
    )
    configured = inbound(settings.parse(f'{rule}private_ip = "10.0.0.4"\n').rules)
    both = merged(parse(body(80)), configured)
    assert [one.by_configuration for one in both.inbound_rules] == [""]
    lb = derive(both)
    assert "by configuration" not in diagram.to_text(lb, both, rules_only(lb))
    assert report.counts(lb)["inbound_rules"] == 1


def test_an_empty_answer_is_judged_by_azure_s_own_rules(stand: Stand) -> None:
    """Whether rules went away is not hidden by those that never do."""
    from lbhook.context import Options
    from lbhook.emulator.server import Emulator

    settings = stand.settings(ONE + CONFIGURED)
    stand.update(settings, None).fetcher.last_good.keep(body(80))
    with Emulator(body()) as imds:
        asked = settings._replace(
            imds=settings.imds._replace(endpoint=imds.url), endpoint_named=True
        )
        update = stand.update(asked, None, Options(wait=0.0))
        result = update.apply()
    assert (result.status, result.attempts) == (0, 3)
    assert stand.text(FILE) == "443\n"
