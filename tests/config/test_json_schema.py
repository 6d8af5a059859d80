"""The schema of the configuration, as editors read it: never narrower than lbhook, and as strict
about names."""

import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lbhook.config import json_schema, settings
from lbhook.config.shipped import SHIPPED
from lbhook.errors import ConfigError

from ..program import REPO

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCUMENT = json_schema.document()
CHECK = jsonschema.Draft7Validator(DOCUMENT)
PAGES = ("configuration", "targets", "nginx", "units", "templates", "monitoring", "operate")
BLOCKS = [
    *(
        pytest.param(block, id=f"{page}-{number}")
        for page in PAGES
        for number, block in enumerate(
            re.findall(r"```toml\n(.*?)```", (REPO / f"docs/{page}.md").read_text(), re.S)
        )
    ),
    *(pytest.param(file.read_text(), id=file.name) for file in (REPO / "examples").glob("*.toml")),
]
# A target of each kind, and one of the owner's own, with what a key may hold.
LIVED_IN = """
[imds]
endpoint = "http://127.0.0.1:8080"
wait = "1h 30m"
absent = "empty"
instance = true
[paths]
templates = ["/etc/lbhook/templates"]
[hooks]
changed = ["/usr/local/bin/told"]
[metrics]
textfile = "/var/lib/prometheus/node-exporter/lbhook.prom"
[drain]
scheduled_events = true
[rules.web]
frontend_ip = "50.0.0.1"
private_ip = "10.1.0.4"
protocol = "tcp"
frontend_port = 443
[targets.nftables]
vars = { policy = "enforce", mark = "0x1000", mark_mask = 4096, imds_users = ["lbhook", 990] }
[[targets.nftables.restrict]]
port = "8000-8100"
sources = ["203.0.113.0/24"]
[targets.web]
like = "nginx"
path = "/etc/nginx/lbhook/web.conf"
mode = "0640"
vars = { ports = [8443], parameters = "ssl http2" }
[targets.nginx-stream]
vars = { upstream = "127.0.0.1:53", protocols = ["udp"], ports = [53], udp_timeout = "10s" }
[targets.haproxy]
vars = { mode = "tcp", ports = [9000] }
[targets.firewalld]
enabled = false
[targets.motd]
template = "motd.j2"
path = "/etc/motd"
reload = ["true"]
timeout = "5s"
vars = { any = { thing = 1 } }
"""


def accepted(text: str) -> bool:
    """Whether lbhook takes a configuration."""
    try:
        settings.parse(text)
    except ConfigError:
        return False
    return True


def names(document: dict[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    """Each key but for the names that are the owner's."""
    for key, value in document.items():
        yield (*above, key)
        for below in value if isinstance(value, list) else [value]:
            if isinstance(below, dict):
                yield from names(below, *above, key)


@pytest.mark.parametrize("text", [*BLOCKS, pytest.param(LIVED_IN, id="lived in")])
def test_what_lbhook_takes_is_taken(text: str) -> None:
    """Each example of the pages, and each of examples/."""
    assert [one.message for one in CHECK.iter_errors(tomllib.loads(text))] == []


def test_what_is_tried_is_right() -> None:
    """By itself, and written out again."""
    assert accepted(LIVED_IN)
    assert accepted(dumped(tomllib.loads(LIVED_IN)))


def test_each_key_says_what_it_holds() -> None:
    """But for the variables of a template of the owner's own."""
    shapes = [
        each for one in DOCUMENT["definitions"].values() for each in one["properties"].items()
    ]
    assert [key for key, shape in shapes if not shape] == []
    for kind in SHIPPED:
        variables = DOCUMENT["definitions"][kind]["properties"]["vars"]["properties"]
        assert set(variables) == set(SHIPPED[kind].variables)
        assert all(variables.values())


# A name of a rule or a target is the owner's, and so are variables of his own template. Without
# `like` a name that is no shipped one needs a template and a path; another file may have them.
def _is_a_name(place: tuple[str, ...]) -> bool:
    own = place[:3] == ("targets", "motd", "vars") and len(place) > 3
    return own or (len(place) == 2 and place[0] in ("rules", "targets"))


@pytest.mark.parametrize(
    "place",
    [one for one in names(tomllib.loads(LIVED_IN)) if not _is_a_name(one)],
    ids=".".join,
)
def test_what_is_misspelt_is_refused_by_both(place: tuple[str, ...]) -> None:
    """A letter more in any key: lbhook and the schema say the same."""
    document = tomllib.loads(LIVED_IN)
    *above, key = place
    within: Any = document
    for name in above:
        within = within[name]
        within = within[0] if isinstance(within, list) else within
    within[f"{key}x"] = within.pop(key)
    assert not accepted(dumped(document))
    assert not CHECK.is_valid(document)


def dumped(document: dict[str, Any]) -> str:
    """TOML, each value in one line."""
    return "".join(f"{json.dumps(key)} = {inline(value)}\n" for key, value in document.items())


def inline(value: Any) -> str:
    """A value of TOML in one line."""
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(key)} = {inline(one)}" for key, one in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    return json.dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        '[imds]\nwait = "soon"\n',
        '[imds]\nabsent = "drop"\n',
        "[imds]\ninstance = 1\n",
        '[metrics]\ntextfile = "/tmp/metrics"\n',
        "[targets.nginx.vars]\nports = [0]\n",
        '[targets.nginx]\nmode = "rw"\n',
        '[targets.web]\nlike = "caddy"\n',
        '[targets.nftables]\npolicy = "enforce"\n',
        "[targets.nginx]\nrestrict = []\n",
        '[rules."a b"]\nprotocol = "tcp"\n',
    ],
)
def test_what_is_wrong_by_itself_is_refused_by_both(text: str) -> None:
    """Types, words, ranges, and keys at a place where they are not."""
    assert not accepted(text)
    assert not CHECK.is_valid(tomllib.loads(text))


def test_an_editor_reads_it(tmp_path: Path) -> None:
    """Taplo itself, by the first line of a file."""
    (tmp_path / "schema.json").write_text(json.dumps(DOCUMENT))
    file = tmp_path / "vm.toml"
    file.write_text(f"#:schema {tmp_path}/schema.json\n{LIVED_IN}")
    argv = [f"{sysconfig.get_path('scripts')}/taplo", "lint", str(file)]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0
    file.write_text(file.read_text().replace("udp_timeout", "upd_timeout"))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "'upd_timeout' was unexpected" in done.stderr
