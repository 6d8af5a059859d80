"""What runs cost: start, an unchanged answer, a first apply, thousands of rules."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lbhook.emulator.server import Emulator

from .measure import (
    Result,
    Row,
    count,
    environment,
    measure,
    mebibytes,
    milliseconds,
    printed,
    program,
    python,
)
from .scene import BODY, THREE, Bench, emptied, request

FEW = 7
_IMPORTS = (
    f"import sys, time; begin = time.perf_counter(); {THREE}; "
    "print((time.perf_counter() - begin) * 1000, file=sys.stderr)"
)
# What changes a disk; a file that is opened for writing counts by its flags.
_CHANGES = (
    "openat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,"
    "symlinkat,fchmod,fchmodat,fchown,fchownat,setxattr,fsetxattr,truncate,ftruncate"
)
_READS = re.compile(r"openat\((?!.*O_(WRONLY|RDWR|CREAT|TRUNC))")


def results(bench: Bench) -> Iterator[Result]:
    """All rows of this room."""
    click = milliseconds(python("import click"))
    version = milliseconds(program("--version"))
    yield measure(Row("lbhook --version", "import click", version, click, 1.15))
    yield from _with_imds(bench)
    yield from _first_apply(bench)
    yield from _many_rules(bench)


def _with_imds(bench: Bench) -> Iterator[Result]:
    root = bench.root("imds")
    with Emulator(BODY, limit=None) as imds:
        words = ("apply", "-c", bench.config, "--endpoint", imds.url, "--root", root)
        unchanged = milliseconds(program(*words))
        unchanged()
        before = len(imds.requests)
        unchanged()
        asked = len(imds.requests) - before
        against = milliseconds(python(request(imds.url)))
        yardstick = "two imports, a request"
        yield measure(Row("unchanged apply, IMDS on loopback", yardstick, unchanged, against, 1.15))
        written = changes(program(*words), root / "run/lbhook")
    yield count("requests on the wire, unchanged", asked, 1, "")
    yield count("calls that write elsewhere, same run", len(written), 0, "")


def changes(argv: tuple[str, ...], but: Path) -> list[str]:
    """The system calls of a program that change a disk, but for one directory."""
    log = but.parent / "strace"
    tracer = ("strace", "-f", "-y", "-qq", "-o", str(log), "-e", f"trace={_CHANGES}")
    subprocess.run((*tracer, *argv), check=True, capture_output=True, env=environment())
    lines = log.read_text().splitlines()
    log.unlink()
    elsewhere = (line for line in lines if str(but) not in line and not _READS.search(line))
    return [line for line in elsewhere if "/dev/null" not in line]


def _first_apply(bench: Bench) -> Iterator[Result]:
    root, body = bench.root("first", disk=True), bench.body(2400)
    imports = milliseconds(python(THREE))
    small, large = bench.apply(BODY, root), bench.apply(body, root)
    first = milliseconds(program(*small), before=lambda: emptied(root))
    yield measure(Row("first apply, three targets, --root", "three imports", first, imports, 1.35))
    script = (sys.executable, "-m", "bench.answered")
    answered = printed((*script, *map(str, small)), before=lambda: emptied(root))
    imported = printed(python(_IMPORTS))
    yield measure(Row("answer read to files in place", "three imports", answered, imported, 1.0))
    code = f"sys.argv = {['lbhook', *map(str, large)]}; from lbhook.program import main; main()"
    peak = mebibytes(code, before=lambda: emptied(root))
    row = Row("peak memory, 2,400 rules", "three imports", peak, mebibytes(THREE), 1.3)
    yield measure(dataclasses.replace(row, unit="MiB", pairs=FEW))


def _many_rules(bench: Bench) -> Iterator[Result]:
    many, few = bench.root("many"), bench.root("few")
    for root, rules in ((many, 2400), (few, 10)):
        milliseconds(program(*bench.apply(bench.body(rules), root)))()
    shuffled = milliseconds(program(*bench.apply(bench.body(2400, order=1), many)))
    against = milliseconds(program(*bench.apply(bench.body(10, order=1), few)))
    yield measure(Row("unchanged apply, 2,400 rules", "10 rules", shuffled, against, 1.3))
    large, small = (
        milliseconds(program("render", "nftables", "--metadata", bench.body(rules)))
        for rules in (10_000, 1000)
    )
    row = Row("render nftables, 10,000 rules", "1,000 rules", large, small, 10.0)
    yield measure(dataclasses.replace(row, pairs=3))
