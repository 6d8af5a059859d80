"""Answers of the metadata service, and playbooks of them, that ship with the package."""

import functools

BODIES = ("documented", "dual-stack", "floating-ip", "gateway-ha-ports", "public-ip-only")
PLAYBOOKS = (
    *("agent-denies", "agent-late", "agent-update"),
    *("cold-boot", "dies", "joined-later", "scheduled-events", "throttled", "update"),
)


@functools.cache
def shipped(name: str) -> bytes:
    """A file of this package, wherever the package is installed (a zip included)."""
    from importlib.resources import files

    return (files("lbhook") / "bodies" / name).read_bytes()
