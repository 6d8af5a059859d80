"""What a run is given: where it happens, what it is asked for, whom it tells, and its clocks."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .config.settings import Settings
from .programs.host import Host

if TYPE_CHECKING:
    from .metadata.planned import Plans


class Options(NamedTuple):
    """What the command line asks for."""

    metadata: str | None = None
    wait: float | None = None
    cached: bool = False
    only: tuple[str, ...] = ()
    require_lb: bool = False
    reload: bool = False
    load: bool = True
    accept_empty: bool = False
    skip_refused: bool = False
    by_hand: bool = True
    despite_hold: bool = False
    confirmed: bool = True
    hand_over: bool = False
    levers: bool = False
    plans: "Plans | None" = None


class Reporter(NamedTuple):
    """Where a run says what it does: `warn` always, `log` at -v, `watch` while it waits
    (an `imds.client.Waiting`)."""

    warn: Callable[[str], None] = lambda _: None
    log: Callable[[str], None] = lambda _: None
    watch: Callable[..., None] = lambda _: None


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Context(NamedTuple):
    """One value for all that one run has in common.

    `clock` and `sleep` are in seconds; `boottime` is seconds since this machine booted, sleep
    included; `read_stdin` reads the body of `--metadata -`.
    """

    host: Host
    settings: Settings
    options: Options = Options()
    reporter: Reporter = Reporter()
    read_stdin: Callable[[], bytes] = lambda: b""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    boottime: Callable[[], float] = _since_boot
