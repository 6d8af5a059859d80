"""Metrics on their way: lbhook, node_exporter, Prometheus, and the queries of the examples."""

from __future__ import annotations

import json
import re
import sys
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from lbhook.telling.metrics import HELP, HELP_OF_TRAFFIC, OUTCOMES

from ..test_docs import blocks, read, rows
from .hosts import REPO, Host, require, wait_for

EXAMPLES = REPO / "examples"
RULES = EXAMPLES / "prometheus/lbhook.rules.yaml"
NODE, PROMETHEUS = "127.0.0.1:9100", "127.0.0.1:9090"
ENDPOINT = "http://127.0.0.1:8169"
CONFIGURATION = f"""
global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}
rule_files: [{RULES}]
scrape_configs: [{{job_name: node, static_configs: [{{targets: ["{NODE}"]}}]}}]
"""


def dashboard() -> Any:
    """The dashboard of examples/."""
    return json.loads((EXAMPLES / "grafana/lbhook.json").read_text())


def queries() -> list[str]:
    """Its queries, for all of its variables."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [re.sub(r"\$(job|instance)", ".*", one) for one in found]


class Vm(Host):
    """A machine with lbhook, configured as the page says, and a metadata service."""

    def __init__(self) -> None:
        super().__init__("monitored", private=("/run", "/var/lib"))
        self.path("/var/lib/prometheus/node-exporter").mkdir(parents=True)
        (block,) = blocks("docs/monitoring.md", "toml")
        table = '[targets.nftables]\npath = "/run/lbhook.nft"\n'
        self.write("/run/lbhook.toml", f"{block.text}\n{table}")

    def lbhook(self, *args: str) -> int:
        """Run lbhook; its status."""
        argv = [sys.executable, "-m", "lbhook", "-c", "/run/lbhook.toml", *args]
        env = {"PYTHONPATH": str(REPO), "LBHOOK_ENDPOINT": ENDPOINT}
        return self.run(argv, env=env, check=False).returncode

    def serve(self) -> None:
        """Answer lbhook as Azure does."""
        argv = [sys.executable, "-m", "lbhook", "emulate", "-q"]
        self.spawn(argv, env={"PYTHONPATH": str(REPO)})
        wait_for(lambda: self.listens("tcp", 8169), "metadata service")

    def get(self, url: str) -> str:
        """What a server of the machine says."""
        return self.run(["curl", "-sS", "--max-time", "10", url], check=False).stdout

    def query(self, expression: str) -> list[Any]:
        """What Prometheus finds; a query that it does not understand fails the test."""
        words = urllib.parse.urlencode({"query": expression})
        said = json.loads(self.get(f"http://{PROMETHEUS}/api/v1/query?{words}"))
        assert said["status"] == "success", said
        return list(said["data"]["result"])

    def found(self, expression: str) -> list[Any]:
        """The same, as soon as it finds something: a scrape that was late leaves a gap."""
        results: list[Any] = []

        def asked() -> bool:
            results[:] = self.query(expression)
            return bool(results)

        wait_for(asked, expression, timeout=60)
        return results


@pytest.fixture
def vm(request: pytest.FixtureRequest) -> Iterator[Vm]:
    """A machine with a metadata service, and with node_exporter as Debian has it."""
    require("prometheus-node-exporter", "curl")
    with Vm() as built:
        built.serve()
        argv = ["prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile"]
        built.spawn([*argv, f"--web.listen-address={NODE}"])
        wait_for(lambda: built.listens("tcp", 9100), "node_exporter", timeout=60)
        yield built


# A command that applies nothing does not know them.
OF_APPLY = {
    "lbhook_reloads_owed",
    "lbhook_held_since_timestamp_seconds",
    "lbhook_reverted",
    "lbhook_drained_since_timestamp_seconds",
    "lbhook_drained_by_azure",
}


def test_node_exporter_reads_both_files(vm: Vm) -> None:
    """Where it looks without being told, with each metric that is documented and no error."""
    assert (vm.lbhook("apply"), vm.lbhook("fetch")) == (0, 0)
    said = vm.get(f"http://{NODE}/metrics")
    assert "\nnode_textfile_scrape_error 0\n" in said
    of_all = {*HELP} | {*HELP_OF_TRAFFIC}
    for command, names in (("apply", of_all), ("fetch", {*HELP} - OF_APPLY)):
        assert set(re.findall(rf'^(lbhook_\w+){{command="{command}"', said, re.M)) == names
    assert 'lbhook_inbound_rules{command="apply"} 2\n' in said


@pytest.fixture
def scraped(vm: Vm) -> Vm:
    """The same, after an apply and with a Prometheus that has its metrics."""
    require("prometheus")
    assert vm.lbhook("apply") == 0
    vm.write("/run/prometheus.yml", CONFIGURATION)
    argv = ["prometheus", "--config.file=/run/prometheus.yml", "--storage.tsdb.path=/run/tsdb"]
    vm.spawn([*argv, f"--web.listen-address={PROMETHEUS}", "--log.level=error"])
    ready = f"http://{PROMETHEUS}/-/ready"
    wait_for(lambda: "is Ready" in vm.get(ready), "Prometheus", timeout=60)
    vm.found("lbhook_info")
    return vm


def test_prometheus_answers_the_dashboard(scraped: Vm) -> None:
    """Each of its queries finds something, and what it finds is what an apply left."""
    for one in queries():
        found = scraped.found(one)
        assert "NaN" not in json.dumps(found), one
    (found,) = scraped.found("lbhook_inbound_rules")
    assert found["value"][1] == "2"
    assert found["metric"] == {
        "__name__": "lbhook_inbound_rules",
        "command": "apply",
        "instance": NODE,
        "job": "node",
    }
    loaded = json.loads(scraped.get(f"http://{PROMETHEUS}/api/v1/rules"))["data"]["groups"]
    assert [one["name"] for one in loaded[0]["rules"]] == alerts()


def test_what_fails_is_seen(scraped: Vm) -> None:
    """An apply that hears nothing is one whose last run failed, with the rules that it had."""
    assert scraped.lbhook("apply", "--endpoint", "http://127.0.0.1:9", "--wait", "0") == 75
    failed = "lbhook_last_run_status != 0 and on (instance) lbhook_inbound_rules == 2"
    scraped.found(failed)
    scraped.found('lbhook_last_run_outcome{outcome="kept"} == 1')
    scraped.found('ALERTS{alertname="LbhookFailing"}')


def test_a_vm_that_is_not_probed_is_seen(scraped: Vm) -> None:
    """Nobody has probed it: never, to the first run. Then a probe comes, counted by the kernel, and
    the next run says when; what nobody opened is counted as dropped."""
    never = "lbhook_last_probe_timestamp_seconds == 0 and on (instance) lbhook_inbound_rules > 0"
    scraped.found(never)
    source = "168.63.129.16"
    scraped.run(["nft", f"delete element inet lbhook probes4 {{ {source} }}"])
    counted = f"{{ {source} counter packets 3 bytes 180 }}"
    scraped.run(["nft", f"add element inet lbhook probes4 {counted}"])
    assert scraped.lbhook("apply") == 0
    scraped.found("time() - lbhook_last_probe_timestamp_seconds < 60")
    scraped.found(f'lbhook_probe_packets_total{{source="{source}"}} == 3')


# What is written about it


def alerts() -> list[str]:
    """The alerts of the examples, in order."""
    return re.findall(r"- alert: (\w+)", RULES.read_text())


def test_prometheus_s_own_tool_takes_the_rules() -> None:
    """It checks them, and runs their tests, in which each of them fires and is silent."""
    require("promtool")
    tests = RULES.with_name("lbhook.test.yaml")
    host = Host("promtool")
    with host:
        assert "11 rules found" in host.run(["promtool", "check", "rules", str(RULES)]).stdout
        host.run(["promtool", "test", "rules", str(tests)])
    assert len(alerts()) == 11
    for name in alerts():
        loud = rf"alertname: {name}\n +exp_alerts:"
        assert re.search(loud, tests.read_text()), name
        assert f"alertname: {name}}}" in tests.read_text(), name


def test_the_page_names_what_there_is() -> None:
    """Each metric, outcome and alert is on the page, and nothing else."""
    page = read("docs/monitoring.md")
    named = [
        re.findall(r"`([^`]+)`", row[0])[0] for row in rows("docs/monitoring.md", "## Metrics")
    ]
    assert named == [*HELP, *HELP_OF_TRAFFIC]
    for one in OUTCOMES:
        assert f"`{one}`" in page
    heading = "## Alerts and a dashboard"
    assert [row[0].strip("`") for row in rows("docs/monitoring.md", heading)] == alerts()
    files = (RULES, EXAMPLES / "grafana/lbhook.json")
    for used in re.findall(r"\blbhook_\w+", "".join(file.read_text() for file in files)):
        assert used in {**HELP, **HELP_OF_TRAFFIC}


def test_the_dashboard_is_whole() -> None:
    """Panels have numbers of their own, and lie beside each other."""
    panels = dashboard()["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    taken = [
        (x, y)
        for one in panels
        for x in range(one["gridPos"]["x"], one["gridPos"]["x"] + one["gridPos"]["w"])
        for y in range(one["gridPos"]["y"], one["gridPos"]["y"] + one["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) == 23
