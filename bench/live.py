"""An unchanged run on a live machine: a namespace with a firewall and an nginx of its own."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.lab.hosts import REPO
from tests.lab.lab import Lab, laboratory
from tests.lab.vm import NGINX

from .measure import Once, Result, Row, measure
from .scene import Bench

# nginx has 512 connections, listeners among them, unless it is told.
_ROOMY = NGINX.replace("events {}", "events { worker_connections 8192; }")
_WITHIN = Path(__file__).with_name("within.py")
PAIRS = 7


def results(bench: Bench) -> Iterator[Result]:
    """2,400 rules against 10, the answer shuffled."""
    with laboratory() as many, laboratory() as few:
        measured, against = unchanged(bench, many, 2400), unchanged(bench, few, 10)
        row = Row("unchanged apply, 2,400 rules, live", "10 rules", measured, against, 1.3)
        yield measure(dataclasses.replace(row, pairs=PAIRS))


def unchanged(bench: Bench, lab: Lab, rules: int) -> Once:
    """Milliseconds of such a run, without the way into the namespace."""
    for order in (0, 1):
        body = bench.body(rules, order).read_text(encoding="utf-8")
        lab.vm.write(f"/run/{order}.json", body)
    lab.vm.write("/etc/nginx/nginx.conf", _ROOMY)
    lab.vm.apply("--metadata", "/run/0.json")
    apply = (sys.executable, "-m", "lbhook", "apply", "-q", "--metadata", "/run/1.json")
    argv = (sys.executable, "-I", "-S", str(_WITHIN), "first", *apply)

    def once() -> float:
        return float(lab.vm.run(argv, env={"PYTHONPATH": str(REPO)}, timeout=60).stdout)

    return once
