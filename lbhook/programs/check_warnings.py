"""What a check that passes warns of, as far as it is about a file of lbhook's.

Measured: nginx 1.22 names a file and its line, or only the listener that a warning is about;
haproxy 2.6 a file, or the frontend. What the rest of a configuration is warned of is its
owner's, and old news.
"""

import re

_WARNING = re.compile(r"^(?:nginx: )?\[(?:warn|WARNING|ALERT)\] *(.*?)\.?$", re.MULTILINE)
_LISTENER = re.compile(r"^\s*listen\s+([^\s;]+)", re.MULTILINE)
_FRONTEND = re.compile(r"^frontend\s+(\S+)", re.MULTILINE)
_LINE = re.compile(r":\d+\b(?=\]|$)")


def about(said: str, path: str, content: str) -> tuple[str, ...]:
    """The warnings about a file, given where it is and what is in it; those that differ only in
    the line once, with their number."""
    names = [f" on {_shown(one)}," for one in _LISTENER.findall(content)]
    names += [f" '{one}'" for one in _FRONTEND.findall(content)]
    found: dict[str, list[str]] = {}
    for warning in _WARNING.findall(said):
        if path in warning or any(name in warning for name in names):
            found.setdefault(_LINE.sub("", warning), []).append(warning)
    return tuple(
        one[0] + (f" (and {len(one) - 1} more)" * (len(one) > 1)) for one in found.values()
    )


def _shown(listener: str) -> str:
    """As nginx writes a listener: a port alone is one of every address."""
    return f"0.0.0.0:{listener}" if listener.isdecimal() else listener
