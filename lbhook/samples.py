"""Answers of the metadata service that ship with the package, to try things with."""

import functools

BODIES = ("documented", "dual-stack", "floating-ip", "gateway-ha-ports", "public-ip-only")


@functools.cache
def shipped(name: str) -> bytes:
    """A file of this package, wherever the package is installed (a zip included)."""
    from importlib.resources import files

    return (files("lbhook") / "bodies" / name).read_bytes()
