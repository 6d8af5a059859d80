"""The smallest configuration of nginx in which a file of lbhook's can be checked by itself."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..config.shipped import kind_of
from ..config.targets import Target

# An upstream that is no address is the name of a block.
_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
# By the context that a file is for. A `listen` with TLS wants a certificate; one whose name has a
# variable is not read before a client comes (nginx 1.15.9).
_BLOCKS = {
    "a server block": "http {{ access_log off; {paths} server {{ include {candidate}; {tls} }} }}",
    "a stream block": "stream {{ {upstream} include {candidate}; {tls} }}",
}
_TLS = "ssl_certificate $hostname; ssl_certificate_key $hostname;"
# Where nginx was built to put what it can't keep in memory. A test gives each such directory to the
# user of its configuration, and takes it from the nginx that runs; what is another user's a unit
# could not remove afterwards.
_KEPT = re.compile(r"--http-(client-body|proxy|fastcgi|uwsgi|scgi)-temp-path=")
_AROUND = """
{unless}user root;
{module}
pid {scratch}/pid;
error_log stderr;
events {{}}
"""


def around(target: Target, candidate: Path, module: str, scratch: str, built: str) -> str:
    """Its text, for a target's candidate, with what `module` loads and with nginx's own files in a
    `scratch` directory; `built` is what `nginx -V` says."""
    name = str(target.vars.get("upstream", ""))
    upstream = f"upstream {name} {{ server 127.0.0.1:9; }}" if _NAME.fullmatch(name) else ""
    text = f"{_AROUND}{_BLOCKS[kind_of(target).context]}\n"
    paths = "".join(_paths(scratch, built))
    places = {"scratch": scratch, "candidate": candidate, "paths": paths}
    places["unless"] = "#" if os.geteuid() else ""
    return text.format(module=module, upstream=upstream, tls=_tls(target), **places)


def _paths(scratch: str, built: str) -> Iterator[str]:
    for name in (one.replace("-", "_") for one in _KEPT.findall(built)):
        if f"--without-http_{name}_module" not in built:
            yield f"{name}_temp_path {scratch}/{name};"


def _tls(target: Target) -> str:
    """What a server needs beside the words behind its addresses; without TLS, which may not be
    built in, nothing."""
    words = str(target.vars.get("parameters", "")).split()
    return _TLS if {"ssl", "quic"}.intersection(words) else ""
