"""What every test lives under: no network but loopback, no Azure by accident."""

import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import lazily  # noqa: F401
from .shared import sharing
from .stand import Stand

BODIES = Path(__file__).parent / "bodies"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What is no program, but is needed like one.
_MODULES = {
    "nginx-stream": Path("/usr/lib/nginx/modules/ngx_stream_module.so"),
    "bash-completion": Path("/usr/share/bash-completion/bash_completion"),
}
# What takes long comes first where there are several workers: none is left with it at the end.
_LONG = ("tests/boot/", "tests/packages/", "tests/lab/", "tests/runs/", "tests/clients/")
_LOOPBACK = ("127.", "::1", "localhost")


def _refuse_foreign_sockets(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: it can't be taken away, and sees sockets of every library."""
    if event not in ("socket.connect", "socket.sendto", "socket.bind"):
        return
    address = arguments[1]
    if isinstance(address, tuple) and not str(address[0]).startswith((*_LOOPBACK, "0.0.0.0", "::")):
        raise AssertionError(f"a test reaches for {address}; only loopback is allowed")


sys.addaudithook(_refuse_foreign_sockets)
# A shell's background job ignores Ctrl-C, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# And one under nohup the loss of a terminal.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this suite."""
    parser.addoption("--write-golden", action="store_true", help="write tests/golden anew")
    parser.addoption("--release", help="boot this Debian release alone, in each test that boots")


def pytest_configure(config: pytest.Config) -> None:
    """The markers of this suite."""
    config.addinivalue_line("markers", "needs(*programs): programs that the test runs")


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    """What a run shares lives as long as its first process."""
    if hasattr(config, "workerinput"):
        return (yield)
    with sharing():
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes long first, in a worker; of that, the larger modules."""
    if not hasattr(config, "workerinput"):
        return
    sizes = Counter(item.path for item in items)
    places = {path: path.relative_to(config.rootpath).as_posix() for path in sizes}

    def turn(item: pytest.Item) -> tuple[int, int]:
        place = places[item.path]
        return next((n for n, one in enumerate(_LONG) if place.startswith(one)), 9), -sizes[
            item.path
        ]

    items.sort(key=turn)


def lacking(reason: str) -> None:
    """Skip a test that lacks something here; where everything must be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and in CI nothing may be missing")
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with its reason, a test whose programs are not installed."""
    for marker in item.iter_markers("needs"):
        missing = [name for name in marker.args if not _installed(name)]
        if missing:
            lacking(f"{', '.join(missing)} not installed")


def _installed(name: str) -> bool:
    module = _MODULES.get(name)
    return module.exists() if module else bool(shutil.which(name, path=_PATH))


@pytest.fixture(autouse=True)
def _no_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test, nor a program that it starts, finds the real metadata service by default."""
    monkeypatch.setenv("LBHOOK_ENDPOINT", "http://127.0.0.1:9")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def body() -> Callable[[str], bytes]:
    """A body of tests/bodies by name."""
    return lambda name: (BODIES / f"{name}.json").read_bytes()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A machine with nothing installed, and a template that lists the ports of listeners."""
    built = Stand(tmp_path)
    built.template("ports.j2")
    return built


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask that does not hide a mode that lbhook forgot to set."""
    old = os.umask(0o077)
    yield
    os.umask(old)
