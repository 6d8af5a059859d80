"""Who runs this process, for records that name somebody."""

import os
import pwd
from collections.abc import Mapping

from .machine import Machine


def caller(machine: Machine, environment: Mapping[str, str] = os.environ) -> str:
    """The user, also behind sudo; of what systemd has started its unit."""
    unit = machine.unit(os.getpid()) if environment.get("INVOCATION_ID") else ""
    return environment.get("SUDO_USER") or _service(unit) or _user(os.getuid())


def _service(unit: str) -> str:
    return unit if unit.endswith(".service") else ""


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
