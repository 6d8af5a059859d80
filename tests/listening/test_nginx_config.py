"""nginx's configuration as values: from what `nginx -T` prints, and from files."""

import subprocess
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path, PurePosixPath

import pytest

from lbhook.listening import nginx_config
from lbhook.listening.files import Files
from lbhook.listening.nginx_config import Listen
from lbhook.listening.nginx_printed import Printed

# `nginx -T` of Debian 12 (1.22.1), cut down to the lines that matter, with two sites beside the
# default one.
PRINTED = """\
# configuration file /etc/nginx/nginx.conf:
user www-data;
worker_processes auto;
pid /run/nginx.pid;
include /etc/nginx/modules-enabled/*.conf;

events {
\tworker_connections 768;
\t# multi_accept on;
}

http {
\tlog_format odd '$remote_addr; { "$request" }';
\tinclude /etc/nginx/mime.types;
\tinclude conf.d/*.conf;
\tinclude /etc/nginx/sites-enabled/*;
}
stream {
\tserver { listen 10.1.0.4:53 udp reuseport; proxy_pass 127.0.0.1:53; }
\tinclude /etc/nginx/lbhook/stream.conf;
}

# configuration file /etc/nginx/modules-enabled/50-mod-stream.conf:
load_module modules/ngx_stream_module.so;

# configuration file /etc/nginx/mime.types:
types { text/html html; }

# configuration file /etc/nginx/conf.d/shop.conf:
server {
    listen 443 ssl http2; listen [::]:443 ssl http2;
    server_name "shop.example" ${name};
    location ~ "^/[a-z]{2}/;" { return 301 https://$host$request_uri; }
}
server { include /etc/nginx/lbhook/listen.conf; }
server { server_name no.listen; }

# configuration file /etc/nginx/sites-enabled/default:
server {
\tlisten 80 default_server;
\tlisten [::]:80 default_server ipv6only=off backlog=600;
\tlisten unix:/run/web.sock;
\tlisten 127.0.0.1:8000-8001;
\tlisten localhost:9;
\tlisten nobody.example:10;
}
"""
OWN = ("/etc/nginx/lbhook/listen.conf", "/etc/nginx/lbhook/stream.conf")


def printed(output: str) -> Files:
    """The files that `nginx -T` has printed."""
    texts = Printed(output).texts

    def names(directory: str) -> Collection[str]:
        place = PurePosixPath(directory).parts
        below = (PurePosixPath(path).parts for path in texts)
        return {parts[len(place)] for parts in below if parts[: len(place)] == place}

    return Files(texts.get, names)


def shown(listens: tuple[Listen, ...]) -> list[tuple[str, str]]:
    """Where each line is, short, and what it asks for."""
    return [
        (
            f"{one.context} {one.server} {one.line.rpartition('/')[2]}",
            " ".join([one.place, *one.words]),
        )
        for one in listens
    ]


def test_what_nginx_prints() -> None:
    """Includes in nginx's order, comments, quotes and braces in words, ports in every form, a
    server without a line, and what lbhook's own files are included by."""
    found = nginx_config.read(printed(PRINTED), OWN)
    assert shown(found.listens) == [
        ("http 1 shop.conf:2", "*:443 ssl http2"),
        ("http 1 shop.conf:2", "[::]:443 ssl http2"),
        ("http 3 shop.conf:7", "*:80"),
        ("http 4 default:2", "*:80 default_server"),
        ("http 4 default:3", "[::]:80 default_server ipv6only=off backlog=600"),
        ("http 4 default:5", "127.0.0.1:8000"),
        ("http 4 default:5", "127.0.0.1:8001"),
        ("http 4 default:6", "127.0.0.1:9"),
        ("http 4 default:6", "[::1]:9"),
        ("stream 5 nginx.conf:18", "10.1.0.4:53 udp reuseport"),
    ]
    assert found.server_of(OWN[0]) == {2}
    assert found.server_of(OWN[1]) == {0}
    assert found.settings["worker_connections"] == "768"


@pytest.mark.parametrize(
    ("line", "speaks", "binds", "protocol"),
    [
        ("listen 443 ssl http2;", {"ssl"}, False, "tcp"),
        ("listen 80 http2;", {"http2"}, False, "tcp"),
        ("listen 443 quic reuseport;", {"quic"}, True, "udp"),
        ("listen 80 proxy_protocol;", {"proxy_protocol"}, False, "tcp"),
        ("listen 80 so_keepalive=on;", set(), True, "tcp"),
        ("listen 80 backlog=7;", set(), True, "tcp"),
        ("listen 80 default_server deferred;", set(), True, "tcp"),
    ],
)
def test_what_the_words_mean(line: str, speaks: set[str], binds: bool, protocol: str) -> None:
    """What a client has to speak, and whether a line has a socket of its own."""
    text = f"http {{ server {{ {line} }} }}"
    files = Files({"/etc/nginx/nginx.conf": text}.get, lambda _: ())
    (found,) = nginx_config.read(files).listens
    assert (set(found.speaks), found.binds, found.protocol) == (speaks, binds, protocol)


@pytest.mark.parametrize(
    ("text", "speaking"),
    [
        ("server { listen 443; ssl on; } server { listen 80; }", [443]),
        ("server { ssl on; listen 443; listen 444; } server { ssl off; listen 80; }", [443, 444]),
        ("server { listen 443; location / { ssl on; } }", []),
        ("server { listen 443; } ssl on;", [443]),
    ],
)
def test_tls_by_a_line_of_its_own(text: str, speaking: list[int]) -> None:
    """nginx before 1.25.1 takes `ssl on;` in place of a word of the listen line."""
    texts = {"/etc/nginx/nginx.conf": f"http {{ {text} }} stream {{ server {{ listen 53; }} }}"}
    found = nginx_config.read(Files(texts.get, lambda _: ())).listens
    assert [one.port for one in found if one.speaks == {"ssl"}] == speaking


def test_who_has_a_certificate() -> None:
    """In its own block or around it, and TLS by no other line than `listen`."""
    servers = (
        "server { listen 80; } server { ssl_certificate one; }"
        " server { ssl_certificate two; ssl on; listen 443; } server { ssl_reject_handshake on; }"
    )
    for more, expected in (("", {2, 4}), ("ssl_certificate all;", {1, 2, 4, 5})):
        text = f"http {{ {servers} {more} }} stream {{ ssl_certificate all; server {{}} }}"
        files = Files({"/etc/nginx/nginx.conf": text}.get, lambda _: ())
        assert nginx_config.read(files).certified == expected


def test_a_pattern_stands_for_a_file_that_is_to_be_there() -> None:
    """lbhook's own, before it is written for the first time, in a directory that is not there."""
    text = "http { server { include lbhook/*.conf; } server { include l*/listen.conf; } }"
    files = Files({"/etc/nginx/nginx.conf": text}.get, lambda _: ())
    assert nginx_config.read(files, OWN[:1]).server_of(OWN[0]) == {1, 2}
    assert not nginx_config.read(files, OWN[:1]).listens


def test_values_are_no_directives() -> None:
    """A million networks are part of the configuration, and are not taken apart."""
    blocks = "geo $a { include geo.conf; } map $a $b { include map.conf; }"
    main = f"http {{ {blocks} server {{ listen 81; }} }}"
    texts = {
        "/etc/nginx/nginx.conf": main,
        "/etc/nginx/geo.conf": "10.0.0.0/8 1; server { listen 82; }",
        "/etc/nginx/map.conf": '"~^/a{2}" "b { include /etc/nginx/none.conf;',
    }
    found = nginx_config.read(Files(texts.get, lambda _: ()))
    assert [one.place for one in found.listens] == ["*:81"]
    assert {path for path, _ in found.texts} == {*texts}
    assert not found.unread


@pytest.mark.parametrize(
    ("words", "built", "usual", "expected"),
    [
        ("", "--prefix=/opt/nginx --with-debug", "", "/opt/nginx/conf/nginx.conf"),
        ("", "--prefix=/opt/nginx --conf-path=/etc/web/n.conf", "", "/etc/web/n.conf"),
        ("", "--prefix=/opt/nginx --conf-path=etc/n.conf", "", "/opt/nginx/etc/n.conf"),
        ("", "", "", "/usr/local/nginx/conf/nginx.conf"),
        ("", "--prefix=/opt/nginx", "http {}", "/etc/nginx/nginx.conf"),
        ("nginx -p /srv", "--prefix=/opt/nginx", "", "/srv/conf/nginx.conf"),
        ("nginx -c a.conf -p /srv", "--prefix=/opt/nginx", "http {}", "/srv/a.conf"),
    ],
)
def test_where_it_begins(words: str, built: str, usual: str, expected: str) -> None:
    """By its command line, by the usual file, or as it was built from source."""
    files = Files({"/etc/nginx/nginx.conf": usual or None}.get, lambda _: ())
    found = nginx_config.main(nginx_config.options([words]), lambda: built, files)
    assert str(found) == expected


def test_names_of_this_machine() -> None:
    """As /etc/hosts has them, in each family; without it, localhost alone."""
    main = "http { server { listen Web.example:81-82; listen localhost:9; listen other.example; } }"
    hosts = (
        "127.0.0.1 localhost\n10.1.0.4\tw web.example # other.example\nace::1 web.example\nodd x\n"
    )
    texts = {"/etc/nginx/nginx.conf": main, "/etc/hosts": hosts}
    found = nginx_config.read(Files(texts.get, lambda _: ())).listens
    assert [one.place for one in found] == [
        *("10.1.0.4:81", "[ace::1]:81", "10.1.0.4:82", "[ace::1]:82", "127.0.0.1:9"),
    ]


def test_who_has_tls_without_a_word_in_its_listen_lines() -> None:
    """By `ssl on;`, for all or in its own block, where `ssl off;` ends it."""
    text = (
        "http { ssl on; server { listen 80; ssl off; } server { listen 443; }"
        " server { ssl_certificate one; listen 8443; ssl on; } }"
    )
    found = nginx_config.read(Files({"/etc/nginx/nginx.conf": text}.get, lambda _: ()))
    assert found.secured == {2, 3}
    assert not found.certified
    assert [(one.port, sorted(one.speaks)) for one in found.listens] == [
        *((80, []), (443, ["ssl"]), (8443, ["ssl"])),
    ]


def test_broken_and_endless_files_end() -> None:
    """Braces that do not match, an include of itself, and one that is not there."""
    text = "include nginx.conf; include gone.conf; } } http { server { listen 80; "
    files = Files({"/etc/nginx/nginx.conf": text}.get, lambda _: ())
    places = {one.place for one in nginx_config.read(files).listens}
    assert places == {"*:80"}


def test_files_that_include_each_other_are_read_a_few_times() -> None:
    """nginx refuses them; lbhook is not to read a million files to say so."""
    both = "include conf.d/*.conf; include conf.d/*.conf;"
    texts = {
        f"/etc/nginx/{name}": both for name in ("nginx.conf", "conf.d/a.conf", "conf.d/b.conf")
    }
    read: list[str] = []

    def text(path: str) -> str | None:
        read.append(path)
        assert len(read) < 100
        return texts.get(path)

    found = nginx_config.read(Files(text, lambda _: ("a.conf", "b.conf")))
    assert {path for path, _ in found.texts} == {*texts}


@pytest.mark.needs("nginx")
def test_the_files_are_those_that_nginx_reads(tmp_path: Path) -> None:
    """In the same order as `nginx -T` prints them."""
    odd = ("odd/a.conf", "odd/_b.conf", "odd/^c.conf")
    for name in ("conf.d/b.conf", "conf.d/a.conf", "conf.d/.hidden.conf", "sites/one/x", *odd):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("# nothing\n")
    main = tmp_path / "nginx.conf"
    includes = "include conf.d/*.conf; include sites/*/x; include none/*.conf; include odd/[^_]*;"
    main.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{ {includes} }}\n")
    argv = ["nginx", "-T", "-e", "stderr", "-c", str(main)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    files = Files(
        lambda path: Path(path).read_text() if Path(path).is_file() else None,
        lambda path: [one.name for one in Path(path).iterdir()] if Path(path).is_dir() else (),
    )
    texts = nginx_config.read(files, main=PurePosixPath(main)).texts
    assert [path for path, _ in texts] == [
        line[21:-1] for line in done.stdout.splitlines() if line.startswith("# configuration file ")
    ]
    assert [path for path, _ in texts] == [
        path for path, _ in nginx_config.read(printed(done.stdout), main=PurePosixPath(main)).texts
    ]
    said = Printed(done.stdout).texts
    assert {path: text.rstrip() for path, text in texts} == {
        path: text.rstrip() for path, text in said.items()
    }


def test_an_address_as_nginx_writes_it() -> None:
    """For messages."""
    assert Listen(ip_address("ace::1"), 80).place == "[ace::1]:80"
    assert Listen(ip_address("10.1.0.4"), 80).place == "10.1.0.4:80"
