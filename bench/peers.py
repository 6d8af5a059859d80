"""Others that do the same job as far as they can, beside an unchanged run of lbhook."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from lbhook.emulator.server import Emulator

from .measure import CHECKOUT, Result, Row, measure, milliseconds, program, python
from .scene import BODY, Bench, request

_HERE = Path(__file__).parent
# As tests/clients/fetch-clients unpacks it.
_PACKAGES = CHECKOUT / ".cache/clients/tree/usr/lib/python3/dist-packages"


def results(bench: Bench) -> Iterator[Result]:
    """One run of lbhook against a shell script; the two of its units against the same; and one
    against cloud-init's own client and renderer, where they have been fetched."""
    bench.config.write_text("", encoding="utf-8")  # the env file alone, which is what peers do
    with Emulator(BODY, limit=None) as imds:
        script = peer(("sh", _HERE / "peer.sh"), imds.url, bench.root("script"))
        once = milliseconds(program(*_apply(bench, imds.url, "once")))
        twice = milliseconds(("sh", "-euc", _units(bench, imds.url)))
        what = "unchanged apply, the env file alone"
        for run in (once, twice, milliseconds(script)):
            run()
        yield measure(Row(what, "shell script", once, milliseconds(script), 5.5))
        yield measure(
            Row("the same, as the units split it", "shell script", twice, milliseconds(script), 5.5)
        )
        least = milliseconds(("sh", "-euc", _imports(imds.url)))
        yield measure(
            Row("what both import, and a request", "shell script", least, milliseconds(script), 10)
        )
        if _PACKAGES.is_dir():
            words = ("env", f"PYTHONPATH={_PACKAGES}", "/usr/bin/python3", "-S")
            other = peer((*words, _HERE / "peer_cloud_init.py"), imds.url, bench.root("cloud-init"))
            yield measure(Row(what, "cloud-init's client", once, milliseconds(other), 1.15))


def peer(start: tuple[str | Path, ...], url: str, root: Path) -> tuple[str, ...]:
    """A peer, which is told whom to ask and what to write."""
    return (*map(str, start), url, str(root / "lb.env"))


def _apply(bench: Bench, url: str, name: str) -> tuple[str | Path, ...]:
    return ("apply", "-c", bench.config, "--endpoint", url, "--root", bench.root(name))


def _imports(url: str) -> str:
    """The least that two programs take of which one asks, in Python with click and requests."""
    asking, applying = python(request(url)), python("import click")
    return f"{shlex.join(asking)}; {shlex.join(applying)}"


def _units(bench: Bench, url: str) -> str:
    """What lbhook-fetch.service and lbhook-refresh.service run, one after the other."""
    place = ("-c", bench.config, "--root", bench.root("units"))
    fetch = program("fetch", "--hand-over", "--endpoint", url, *place)
    refresh = program("apply", "--cached", "--skip-refused", *place)
    return f"{' '.join(fetch)}; {' '.join(refresh)}"
