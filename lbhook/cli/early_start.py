"""A unit that starts before it is needed: what it reads meanwhile, and what it waits for.

Why: docs/decisions/0017-started-before-needed.md.
"""

from .invocation import Invocation


def await_answer(invocation: Invocation) -> None:
    """Read what a run takes while a boot goes on; what a change takes as well if this is the first.
    Then let the unit ask that asks, and wait for its end: the configuration may be there only
    now."""
    from pathlib import Path

    from ..paths import Paths
    from ..programs.boot_jobs import BootJobs

    manager = invocation.console.manager
    jobs = BootJobs()
    with jobs.leading():
        _read_ahead()
    jobs.await_answer(
        lambda: manager.status("Waiting for lbhook-fetch.service", waiting=True),
        Path(Paths().handover),
    )


def _read_ahead() -> None:
    from pathlib import Path

    from ..deployment import deployment  # noqa: F401
    from ..judging import haproxy_listeners, nginx_listeners  # noqa: F401
    from ..memory.places import Places
    from ..paths import Paths
    from ..runs.update import Update  # noqa: F401

    if Path(Places(Paths()).installed_file).exists():
        return
    from ..planning import closing  # noqa: F401
    from ..processes import find
    from ..programs.nginx import Nginx  # noqa: F401
    from ..rendering import render
    from ..tables import loading  # noqa: F401

    render.prepare(find)


def await_network(invocation: Invocation) -> None:
    """Read what a question takes while a boot goes on, and wait until it can be asked."""
    from ..imds import question  # noqa: F401
    from ..programs.boot_jobs import BootJobs
    from ..runs.fetch import Fetch  # noqa: F401

    manager = invocation.console.manager
    BootJobs().follow(lambda: manager.status("Waiting for the network", waiting=True))
