"""The words behind an address that the documentation names, alone and in pairs, by a real nginx."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from lbhook.config import settings as config
from lbhook.config.targets import Target
from lbhook.processes import run
from lbhook.programs.nginx import Nginx

from .. import stand
from ..program import Desk
from ..stand import Runner
from ..test_docs import names, rows

pytestmark = pytest.mark.needs("nginx")
# Each word, and those that nginx does not take beside it.
WORDS = {
    names(cells[0])[0]: frozenset(names(cells[2]))
    for cells in rows("docs/configuration.md", "#### Words of `parameters`")
}
ALONE_AND_IN_PAIRS = [
    *((word,) for word in WORDS),
    *itertools.combinations(WORDS, 2),
]
LINES = "# 1\nlisten 203.0.113.9:443 {0};\nlisten [2001:db8::9]:443 {0};\n"
STREAM = ("ssl", "proxy_protocol", "reuseport", "backlog=511", "ssl proxy_protocol")


def target(kind: str, parameters: str) -> Target:
    """A target as a configuration has it."""
    text = f'[targets.{kind}]\nvars = {{ parameters = "{parameters}" }}\n'
    return next(one for one in config.parse(text).active() if one.kind == kind)


def fits(words: tuple[str, ...]) -> bool:
    """Whether the documentation says that nginx takes these words together."""
    return not any(one in WORDS[other] for one in words for other in words)


def test_every_word_is_documented_with_its_enemies() -> None:
    """What one does not go with does not go with it either."""
    assert {"ssl", "http2", "quic", "proxy_protocol", "default_server", "reuseport"} < set(WORDS)
    for word, others in WORDS.items():
        assert all(word in WORDS[other] for other in others)


@pytest.mark.parametrize("words", ALONE_AND_IN_PAIRS, ids=" ".join)
def test_a_file_with_these_words_is_checked_by_itself(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """No certificate is asked for: it stands in a server block that is not here."""
    parameters = " ".join(words)
    candidate = tmp_path / "listen.conf"
    candidate.write_text(LINES.format(parameters))
    result = Nginx(run).check(target("nginx", parameters), candidate)
    knows_quic = "--with-http_v3_module" in run(("nginx", "-V")).output
    good = fits(words) and ("quic" not in words or knows_quic)
    assert result.ok == good, result.output
    if "quic" in words and not knows_quic:
        assert re.search(
            r'\[emerg\] invalid parameter "quic" in .*/listen.conf:2\n(?s:.*)'
            r"^nginx [\d.]+ has no parameter quic for listen \(.*\); change vars.parameters$",
            result.output,
            re.MULTILINE,
        )
    elif not good:
        assert re.search(r'"\S+" parameter .*"quic"', result.output)


@pytest.mark.needs("nginx-stream")
@pytest.mark.parametrize("parameters", STREAM)
def test_a_stream_with_these_words_is_checked_by_itself(tmp_path: Path, parameters: str) -> None:
    """As above: the certificate is that of the stream block."""
    candidate = tmp_path / "stream.conf"
    lines = LINES.format(parameters)
    candidate.write_text(f"server {{\n    proxy_pass 127.0.0.1:9;\n{lines}}}\n")
    result = Nginx(run).check(target("nginx-stream", parameters), candidate)
    assert result.ok, result.output


def test_a_word_that_nobody_knows(tmp_path: Path) -> None:
    """nginx names the line; what to change is said, too."""
    candidate = tmp_path / "listen.conf"
    candidate.write_text(LINES.format("tls"))
    result = Nginx(run).check(target("nginx", "tls"), candidate)
    assert re.search(r"^nginx [\d.]+ has no parameter tls for listen; ", result.output, re.M)


def test_a_certificate_is_only_mentioned_where_there_is_tls(tmp_path: Path) -> None:
    """nginx may have been built without it; a name with a variable is not read by a test."""
    for parameters, mentioned in (("", False), ("ssl", True), ("quic", True), ("backlog=9", False)):
        read = list[str]()

        def answers(argv: tuple[str, ...], read: list[str] = read) -> tuple[int, str]:
            read.extend([] if "-V" in argv else [Path(argv[-1]).read_text()])
            return 0, "syntax is ok"

        Nginx(Runner(answers)).check(target("nginx", parameters), tmp_path / "x")
        assert ("ssl_certificate $hostname;" in read[0]) == mentioned


def test_http_3_comes_by_udp(tmp_path: Path) -> None:
    """A target with `quic` takes UDP rules, another one the TCP rules beside it."""
    rules = [stand.rule(443), stand.rule(8443, protocol="Udp"), stand.rule(80)]
    tables: dict[str, object] = {"publicIpAddresses": [], "outboundRules": []}
    content = json.dumps({"loadbalancer": {**tables, "inboundRules": rules}}).encode()
    desk = Desk(tmp_path, body=content)
    for parameters, ports in (("quic", ["8443"]), ("ssl", ["80", "443"])):
        desk.configure(f'[targets.nginx]\nvars = {{ parameters = "{parameters}" }}\n')
        shown = desk.run("render", "nginx").out
        assert re.findall(rf"^listen \S+?:(\d+) {parameters};", shown, re.MULTILINE) == ports
