"""Which `listen` lines nginx can take: each row was measured on nginx 1.22 or follows from one."""

import re
from ipaddress import ip_address

import pytest

from lbhook.listening import nginx_config, nginx_verdict
from lbhook.listening.files import Files
from lbhook.listening.nginx_config import Listen
from lbhook.listening.nginx_sockets import Room, opened
from lbhook.listening.nginx_verdict import Scene
from lbhook.listening.taken import Taken

OWN = "/own"
V4, V6 = "10.1.0.4", "ace::1"


def scene(
    rest: str = "", held: str | None = None, others: tuple[Taken, ...] = (), own: str = ""
) -> Scene:
    """nginx with lbhook's file in a server that has further lines of its `own`, and the `rest`."""
    text = (
        f"http {{ server {{ include {OWN}; {own} }} {rest} }}"
        if not rest.startswith("stream")
        else rest
    )
    files = Files({"/etc/nginx/nginx.conf": text}.get, lambda _: ())
    found = nginx_config.read(files, (OWN,))
    sockets = None if held is None else tuple(listens(held))
    return Scene(found.listens, found.server_of(OWN), "http", sockets, others)


def listens(text: str) -> list[Listen]:
    """Lines by what stands behind `listen`, with commas between them."""
    lines = "".join(f"listen {one};" for one in text.split(", ") if one)
    files = Files(
        {"/etc/nginx/nginx.conf": f"http {{ server {{ {lines} listen 9; }} }}"}.get, lambda _: ()
    )
    return [
        one._replace(server=-1, line=OWN)
        for one in nginx_config.read(files).listens
        if one.port != 9
    ]


def judged(at: Scene, wanted: str = f"{V4}:80", form: str = "port") -> tuple[str, str]:
    """The places that a file gets, and the first thing that is said."""
    found = nginx_verdict.judge(at, listens(wanted), form)
    return ", ".join(one.place for one in found.lines), next(iter(found.notes), "")


def server(*lines: str) -> str:
    """Another server, with these lines."""
    return f"server {{ {' '.join(f'listen {one};' for one in lines)} }}"


BOTH = "*:80, [::]:80"


@pytest.mark.parametrize(
    ("at", "places"),
    [
        (scene(), BOTH),
        (scene(held=""), BOTH),
        (scene(held="80"), BOTH),
        (scene(held="80, [::]:80"), BOTH),
        (scene(held=f"{V4}:80"), f"{V4}:80"),
        (scene(held="127.0.0.1:80"), f"{V4}:80"),
        (scene(server("80 default_server", "[::]:80 default_server")), BOTH),
        (scene(server("[::]:80 default_server ipv6only=off")), "[::]:80"),
        (scene(server("[::]:80 ipv6only=off"), held="[::]:80"), "[::]:80"),
        (scene(server("80 reuseport backlog=7")), BOTH),
        (scene(server(f"{V4}:80")), f"*:80, {V4}:80, [::]:80"),
        (scene(server(f"{V4}:80"), held=f"{V4}:80"), f"{V4}:80"),
        (scene(server(f"{V4}:80 backlog=7")), f"{V4}:80"),
        (scene(server("10.1.0.5:80 backlog=7")), f"{V4}:80"),
        (scene(server("127.0.0.1:80")), BOTH),
        (scene(server("[::]:80 ssl")), "*:80"),
        (scene(others=(Taken(ip_address("127.0.0.1"), 80, program="app"),)), f"{V4}:80"),
        (scene(others=(Taken(ip_address("::1"), 80, program="app"),)), "*:80"),
        (scene(others=(Taken(ip_address(V4), 81, program="app"),)), BOTH),
        (scene(others=(Taken(ip_address(V4), 80, "udp", program="app"),)), BOTH),
        (scene(own="listen 80;"), ""),
        (scene(own=f"listen {V4}:80;"), ""),
    ],
)
def test_what_is_written_for_one_address(at: Scene, places: str) -> None:
    """Every address, unless nginx can't take that; then what it can."""
    assert judged(at) == (places, "")


@pytest.mark.parametrize(
    ("at", "note"),
    [
        (
            scene(server("80 ssl")),
            "port 80 is left out: .* listens there with ssl, this target in plain text",
        ),
        (scene(server("80 proxy_protocol")), "with proxy_protocol, this target in plain text"),
        (scene(server("80 http2")), "with http2"),
        (
            scene(own="listen 80 ssl;"),
            "port 80 is left out: .* of the same server block already has it with ssl",
        ),
        (scene(own=f"listen {V4}:80 ssl;"), "of the same server block already has it with ssl"),
        (scene(server(f"{V4}:80 ssl")), "listens there with ssl"),
        (
            scene("", others=(Taken(ip_address(V4), 80, program="app"),)),
            f"app has {V4}:80; stop that program, or",
        ),
        (
            scene("", others=(Taken(ip_address("0.0.0.0"), 80, program="app"),)),
            "app has 0.0.0.0:80",
        ),
        (
            scene("", others=(Taken(ip_address("::"), 80, program="app", both=True),)),
            r"app has \[::\]:80",
        ),
        (
            scene("", others=(Taken(ip_address(V4), 80, program="app", there=False),)),
            f"app had {V4}:80 when lbhook looked last; name it in `ports` to take it",
        ),
        (
            scene("stream { server { listen 80; } } http { server { include /own; } }"),
            r"nginx could not start: .* in stream {} opens \*:80",
        ),
        (
            scene("stream { server { listen 10.1.0.4:80; } } http { server { include /own; } }"),
            "nginx could not start: .* in stream {} opens 10.1.0.4:80",
        ),
    ],
)
def test_what_is_left_out(at: Scene, note: str) -> None:
    """Nobody loses what works; the words say whose it is, and what to do."""
    places, said = judged(at)
    assert places == ""
    assert re.search(note, said)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("at", "places", "note"),
    [
        (scene(), f"{V4}:80", ""),
        (scene(held=f"{V4}:80"), f"{V4}:80", ""),
        (scene(held="80"), "*:80", "port 80 stays open on every address: nginx listens on *:80"),
        *(
            (
                scene(server("80"), held=held),
                "*:80",
                "port 80 stays open on every address: /etc/nginx/nginx.conf:1 listens on *:80;",
            )
            for held in (None, "", "80")
        ),
        (
            scene(server("80 ssl")),
            "",
            f"{V4}:80 is left out: it would take connections from *:80 of",
        ),
        (scene(server("80 ssl", f"{V4}:80")), f"{V4}:80", ""),
        (
            scene(server("[::]:80 ipv6only=off")),
            "",
            f"{V4}:80 is left out: it would take connections from [::]:80",
        ),
        (scene(server("[::]:80")), f"{V4}:80", ""),
    ],
)
def test_the_form_of_addresses(at: Scene, places: str, note: str) -> None:
    """What `listen = "address"` comes to; never a listener before somebody else's."""
    found, said = judged(at, form="address")
    assert found == places
    assert said.startswith(note)
    assert bool(said) == bool(note)


def test_options_at_an_address_beside_every_address() -> None:
    """nginx would open both, and could not start."""
    found, said = judged(scene(server("80")), f"{V4}:80 backlog=7", "address")
    assert (found, "stays open on every address" in said) == ("*:80", True)
    own = scene(own="listen 80;")
    assert judged(own, f"{V4}:80 backlog=7", "address") == ("", "")


def test_options_of_one_place_are_set_once() -> None:
    """`-t` would refuse the whole, for one port."""
    both = scene(server("80 default_server backlog=7"))
    assert "is its default_server already" in judged(both, f"{V4}:80 default_server")[1]
    assert "sets its options already" in judged(both, f"{V4}:80 backlog=9")[1]


def test_each_address_by_itself() -> None:
    """One that is taken does not keep the other from its rules."""
    at = scene(others=(Taken(ip_address(V4), 80, program="app"),))
    places, said = judged(at, f"{V4}:80, 10.1.0.5:80", "address")
    assert (places, said[:23]) == ("10.1.0.5:80", "10.1.0.4:80 is left out")


def test_both_families() -> None:
    """Each has the form that it can have."""
    at = scene(held=f"{V4}:80")
    assert judged(at, f"{V4}:80, [{V6}]:80")[0] == f"{V4}:80, [::]:80"
    assert judged(scene(), f"[{V6}]:80")[0] == BOTH.replace("*:80, [::]:80", "[::]:80, *:80")


@pytest.mark.parametrize("form", ["port", "address"])
def test_a_socket_for_both_families_that_nginx_holds(form: str) -> None:
    """Its line may be gone with what lbhook's file has taken the place of; nothing else can be
    opened at that port, and a restart without the word would lose IPv4."""
    at = scene(held="[::]:80 ipv6only=off")
    found = nginx_verdict.judge(at, listens(f"{V4}:80, [{V6}]:80"), form)
    assert [(one.place, one.dual) for one in found.lines] == [("[::]:80", True)]
    assert bool(found.notes) == (form == "address")
    assert judged(scene(held="[::]:443 ipv6only=off").by_port().get(80, scene()))[0] == BOTH


@pytest.mark.parametrize(
    ("rest", "held", "others", "says"),
    [
        ("80", "", (), ""),
        ("80", "80", (), ""),
        (
            "80",
            f"{V4}:80",
            (),
            "needs *:80, but nginx listens on 10.1.0.4:80; run once "
            "`systemctl stop nginx`, `lbhook apply`, `systemctl start nginx`",
        ),
        (
            f"{V4}:80",
            "80",
            (),
            "needs 10.1.0.4:80, but nginx listens on *:80; run once "
            "`systemctl stop nginx`, `lbhook apply`, `systemctl start nginx`",
        ),
        (
            "80",
            "",
            (Taken(ip_address("0.0.0.0"), 80, program="app"),),
            "needs *:80, but app has 0.0.0.0:80",
        ),
        (
            "[::]:80 ipv6only=off",
            "",
            (Taken(ip_address(V4), 80, program="app"),),
            "needs [::]:80, but app has 10.1.0.4:80",
        ),
        ("[::]:80", "", (Taken(ip_address(V4), 80, program="app"),), ""),
        ("80 reuseport", "80 reuseport", (), ""),
    ],
)
def test_what_no_signal_changes(rest: str, held: str, others: tuple[Taken, ...], says: str) -> None:
    """Somebody else's line that a running nginx can't take keeps it from every change."""
    said = nginx_verdict.stuck(scene(server(rest), held=held, others=others))
    assert says in said
    assert bool(said) == bool(says)


def test_nothing_is_stuck_before_a_start() -> None:
    """Then nginx opens what its configuration asks for."""
    assert nginx_verdict.stuck(scene(server("80"))) == ""


def test_room() -> None:
    """Connections of a worker, and files of the main process, sockets of each worker among them."""
    many = opened(listens(", ".join(f"{20000 + number}" for number in range(700))))
    assert Room(connections=768, workers=2, files=1024).lacks(many) == (
        "700 listeners leave clients next to none of its 768 worker_connections; set them to 1400"
        " or more"
    )
    assert Room(connections=1024, workers=2, files=1024).lacks(many) == ""
    few = opened(listens(", ".join(f"{20000 + number} reuseport" for number in range(300))))
    assert "1200 sockets are more than its main process may open, 1024 files" in Room(
        connections=768, workers=4, files=1024
    ).lacks(few)
    assert Room(connections=768, workers=4).lacks(few) == ""


def test_http3_is_tls() -> None:
    """A block with a certificate may have it, though not plain text, on TLS's port."""
    at = scene()._replace(certified=True)
    assert judged(at, f"{V4}:443 quic", "address") == (f"{V4}:443", "")
    assert judged(at, f"{V4}:443 ssl")[0] == "*:443, [::]:443"
    assert judged(at, f"{V4}:443")[1].startswith("port 443 is left out: its server block has")


def test_udp_is_named_where_it_is_left_out() -> None:
    """The same port may be open over TCP."""
    other = Taken(ip_address(V4), 53, "udp", program="dns")
    found = nginx_verdict.judge(scene(others=(other,)), listens(f"{V4}:53 udp"), "address")
    assert found.notes[0].startswith(f"UDP {V4}:53 is left out: dns has {V4}:53; ")


def test_udp_is_opened_where_rules_lead_whatever_tcp_has() -> None:
    """A reload opens it beside any other socket."""
    for held in ("443 ssl", "443 quic"):
        assert judged(scene(held=held), f"{V4}:443 quic", "address") == (f"{V4}:443", "")


def test_one_server_block_alone_says_that_a_socket_is_for_both_families() -> None:
    """In a file that two of them include nginx would refuse it."""
    at = scene(f"server {{ include {OWN}; }}", held="[::]:80 ipv6only=off")
    found = nginx_verdict.judge(at, listens(f"{V4}:80"), "port")
    assert found.lines == ()
    assert "run once `systemctl stop nginx`" in found.notes[0]
    assert nginx_verdict.closes(at, listens(f"{V4}:80"), found)


@pytest.mark.parametrize("form", ["port", "address"])
def test_a_second_file_shares_the_socket_for_both_families(form: str) -> None:
    """The first has the word."""
    first = Listen(ip_address("::"), 80, ("ipv6only=off",), "http", nginx_config.OURS, "/first")
    at = scene(held="[::]:80 ipv6only=off")
    found = nginx_verdict.judge(at._replace(rest=(first,)), listens(f"{V4}:80"), form)
    assert [(one.place, one.dual) for one in found.lines] == [("[::]:80", False)]
