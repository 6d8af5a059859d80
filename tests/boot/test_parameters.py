"""Words behind an address, alone and in pairs: nginx of each release is asked in their ways."""

from __future__ import annotations

import subprocess

from ..lab.fabric import VM4, body, rule
from ..lab.hosts import wait_for
from ..programs.test_parameters import ALONE_AND_IN_PAIRS, fits
from .azure import FRONT, Azure
from .machine import CONFIGURATION, SETTINGS, Machine

# None whose number says TLS: it is to have these words, and others.
PORT = 8080
SITE = """
server {
    include /etc/nginx/lbhook/listen.conf;
    ssl_certificate /etc/nginx/site.pem;
    ssl_certificate_key /etc/nginx/site.key;
    return 200 "$server_protocol\\n";
}
"""
DEPRECATED = 'nginx: its check warns: the "listen ... http2" directive is deprecated'
_CERTIFICATE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"


def certify(machine: Machine, name: str, key: str, certificate: str) -> None:
    """Make a certificate that is signed by itself."""
    files = ["-keyout", str(machine.path(key)), "-out", str(machine.path(certificate))]
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([*_CERTIFICATE.split(), *subject, *files], check=True, capture_output=True)


def ask(azure: Azure, words: tuple[str, ...]) -> str:
    """What a client that speaks as these words have it is told."""
    tls, http2 = "ssl" in words, "http2" in words
    argv = ["curl", "-sk", "--max-time", "2", f"http{'s' * tls}://{FRONT}:{PORT}/"]
    argv += ["--haproxy-protocol"] if "proxy_protocol" in words else []
    argv += ["--http2" if tls else "--http2-prior-knowledge"] if http2 else ["--http1.1"]
    return azure.client.run(argv, check=False).stdout.strip()


def test_each_word_does_what_it_says(machine: Machine, azure: Azure) -> None:
    """What goes together is loaded and answers; what does not, or is newer than this nginx, is
    refused with nginx's words, and nothing has changed."""
    machine.write("/etc/nginx/conf.d/site.conf", SITE)
    certify(machine, "shop.example", "/etc/nginx/site.key", "/etc/nginx/site.pem")
    rules = body(*(rule(FRONT, PORT, VM4, PORT, protocol) for protocol in ("Tcp", "Udp")))
    azure.fabric.load_balance(rules)
    azure.fabric.answer(rules)
    machine.boot()
    machine.stop_timer()
    http3 = "--with-http_v3_module" in machine.run(["nginx", "-V"]).stderr
    for words in ALONE_AND_IN_PAIRS:
        vars_line = f'vars = {{ parameters = "{" ".join(words)}" }}\n'
        machine.write(CONFIGURATION, SETTINGS + vars_line)
        applied = machine.run(["lbhook", "apply"], check=False)
        if fits(words) and (http3 or "quic" not in words):
            assert applied.returncode == 0, (words, applied.stderr)
            loaded = machine.reloads()["nginx"] == "done"
            assert loaded, (words, machine.status(), machine.journal("--unit=nginx"))
            assert ("http2" in words and http3) == (DEPRECATED in applied.stderr), words
            _assert_answers(machine, azure, words)
        else:
            assert applied.returncode == 78, (words, applied.stdout, applied.stderr)
            told = "no parameter quic" if not http3 else 'incompatible with "quic"'
            assert told in applied.stderr, (words, applied.stderr)


def _assert_answers(machine: Machine, azure: Azure, words: tuple[str, ...]) -> None:
    if "quic" in words:
        held = machine.run(["ss", "-Hlunp", "sport", "=", f":{PORT}"]).stdout
        assert '"nginx"' in held, words
        return
    spoken = "HTTP/2.0" if "http2" in words else "HTTP/1.1"
    # For a moment the old workers still take connections.
    wait_for(lambda: ask(azure, words) == spoken, f"an answer with {words}")
