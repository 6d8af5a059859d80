"""nginx as people have it: what it holds, what else it is told to listen on, and who else does."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest

from .asker import Asker
from .fabric import VM4, VM6, body, rule
from .hosts import wait_for
from .knock import one
from .lab import Lab, laboratory
from .rules import FRONT4, FRONT6
from .vm import LISTEN, NGINX, RESTING

INCLUDE = "include /etc/nginx/lbhook/listen.conf;"
MAIN = "/etc/nginx/nginx.conf"
WEB = rule(FRONT4, 80, VM4, 80)
TLS = rule(FRONT4, 443, VM4, 443)
SQL = rule(FRONT4, 5432, VM4, 5432)
SITE = 'server {{ {listen} return 200 "{says}\\n"; }}'
SECURE = "ssl_certificate /etc/nginx/cert.pem; ssl_certificate_key /etc/nginx/key.pem;"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A machine with nginx alone, which a test configures before it is started."""
    with laboratory() as built:
        built.vm.run(["nginx", "-s", "quit"])
        wait_for(lambda: not built.vm.listens("tcp", 10009), "the end of nginx")
        built.vm.write("/etc/lbhook/lbhook.toml", "[targets.nginx]\n")
        yield built


def configure(lab: Lab, *servers: str, outside: str = "") -> None:
    """Write a configuration with these servers, and another block beside them."""
    lines = "\n".join(servers)
    text = NGINX.partition("    server {")[0].replace("access_log", "#")
    lab.vm.write(MAIN, f"{text}{lines}\n}}\n{outside}\n")


def certify(lab: Lab) -> None:
    """Give the machine a certificate; its own openssl has no configuration."""
    key, certificate = (str(lab.vm.path(f"/etc/nginx/{name}")) for name in ("key.pem", "cert.pem"))
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=site"]
    subprocess.run([*argv, "-keyout", key, "-out", certificate], check=True, capture_output=True)


def start(lab: Lab, port: int) -> None:
    """Start nginx, and wait for a port of it."""
    lab.vm.run(["nginx"])
    wait_for(lambda: lab.vm.listens("tcp", port), f"nginx at {port}")


def stop(lab: Lab, port: int) -> None:
    """As before a boot: lbhook runs before nginx."""
    lab.vm.run(["nginx", "-s", "stop"])
    wait_for(lambda: not lab.vm.listens("tcp", port), f"the end of nginx at {port}")
    lab.vm.run(["rm", "-rf", "/run/lbhook"])


def site(says: str, listen: str = INCLUDE) -> str:
    """A server block that answers with a word."""
    return SITE.format(listen=listen, says=says)


def listeners(lab: Lab) -> list[str]:
    """The places of the rendered file."""
    lines = lab.vm.read(LISTEN).splitlines()
    return [line.partition(";")[0][7:] for line in lines if line.startswith("listen")]


def asked(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """Apply, as the timer does."""
    return lab.vm.lbhook("apply", "--skip-refused", *words, check=False)


@pytest.mark.parametrize("resting", [RESTING, ""], ids=["at rest", "no file"])
@pytest.mark.parametrize(
    "settings",
    [
        "[targets.nginx]\n",
        '[targets.nginx]\nreload = ["nginx", "-s", "reload"]\n',
        '[targets.nginx.vars]\nlisten = "address"\n',
    ],
    ids=["port", "own command", "address"],
)
def test_the_path_of_the_readme_refuses_nobody(lab: Lab, resting: str, settings: str) -> None:
    """nginx has `listen 80;`, which the include takes the place of; then apply, and again by the
    timer, while a client asks all the time. In the end it goes back the same way."""
    if not resting:
        lab.vm.path(LISTEN).unlink()
    configure(lab, site("old", "listen 80;"))
    start(lab, 80)
    lab.balance(body(WEB))
    client = Asker(lab.vm, VM4, 80)
    configure(lab, site("new"))
    lab.vm.write("/etc/lbhook/lbhook.toml", settings)
    assert asked(lab).returncode == 0
    wait_for(lambda: one(lab.vm, "tcp", VM4, 80).reply.endswith("new\n"), "the new site")
    assert asked(lab).returncode == 0
    configure(lab, site("own", "listen 80;"))
    lab.vm.run(["nginx", "-s", "reload"])
    wait_for(lambda: one(lab.vm, "tcp", VM4, 80).reply.endswith("own\n"), "the owner's site")
    lab.vm.write("/etc/lbhook/lbhook.toml", "")
    assert asked(lab).returncode == 0
    assert set(client.stop()) == {"old", "new", "own"}


@pytest.mark.parametrize(
    ("before", "beside"),
    [
        ("listen [::]:80 ipv6only=off;", ""),
        ("listen 80;", "listen 127.0.0.1:80;"),
        ("listen 80;", f"listen {VM4}:80; server_name other.example;"),
    ],
    ids=["one for both families", "a status page on loopback", "an address"],
)
@pytest.mark.parametrize("form", ["port", "address"])
def test_the_path_of_the_readme_with_other_lines(
    lab: Lab, before: str, beside: str, form: str
) -> None:
    """One socket for both families, or a line for a single address which the socket for all of them
    takes in: nobody is refused, and the file is good for a restart without lbhook."""
    others = [site("beside", beside)] if beside else []
    configure(lab, site("old", before), *others)
    start(lab, 80)
    lab.balance(body(WEB))
    client = Asker(lab.vm, VM4, 80)
    configure(lab, site("new"), *others)
    lab.vm.write("/etc/lbhook/lbhook.toml", f'[targets.nginx.vars]\nlisten = "{form}"\n')
    assert asked(lab).returncode == 0
    assert asked(lab, "--reload").returncode == 0
    assert set(client.stop()) <= {"old", "new", "beside"}
    stop(lab, 80)
    start(lab, 80)
    assert one(lab.vm, "tcp", VM4, 80).state == "open"


@pytest.mark.needs("curl")
def test_a_block_with_a_certificate_gets_no_plain_port_of_tls(lab: Lab) -> None:
    """The README's path on a block that has both ports: nothing is reloaded that would end TLS, and
    what to do is said. At a boot the other port is served; what the message says works."""
    certify(lab)
    configure(lab, site("old", f"listen 80; listen 443 ssl; {SECURE}"))
    start(lab, 443)
    lab.balance(body(WEB, TLS))
    configure(lab, site("new", f"{INCLUDE} {SECURE}"))
    for _ in range(2):
        done = asked(lab)
        assert done.returncode == 69
        assert "port 443 is left out: its server block has a certificate, and" in done.stderr
        assert "blocked: nginx can't reload: it would close port 443" in done.stderr
        assert secret(lab) == one(lab.vm, "tcp", VM4, 80).reply.split()[-1] == "old"
    configure(lab, site("own line", f"{INCLUDE} listen 443 ssl; {SECURE}"))
    assert asked(lab).returncode == 0
    wait_for(lambda: secret(lab) == "line", "TLS by the block's own line")
    stop(lab, 443)
    configure(lab, site("new", f"{INCLUDE} {SECURE}"))
    assert asked(lab).returncode == 0
    assert listeners(lab) == ["80", "[::]:80"]


@pytest.mark.needs("curl")
def test_a_port_that_is_there_in_plain_goes_on(lab: Lab) -> None:
    """That 8443 is TLS is a guess: a certificate that comes to the block later changes nothing of
    what lbhook's file has, nor keeps another rule waiting."""
    certify(lab)
    configure(lab, site("site"))
    odd = rule(FRONT4, 8443, VM4, 8443)
    lab.balance(body(odd))
    assert asked(lab).returncode == 0
    start(lab, 8443)
    configure(lab, site("site", f"{INCLUDE} {SECURE}"))
    lab.balance(body(odd, WEB))
    assert asked(lab).returncode == 0
    assert listeners(lab) == ["80", "[::]:80", "8443", "[::]:8443"]


def test_no_other_file_of_nginxs_reloads_it_while_one_would_close_a_port(lab: Lab) -> None:
    """All of them wait, and whichever has the port in the end lets them go on."""
    certify(lab)
    configure(lab, site("old", f"listen 80; listen 443 ssl; {SECURE}"))
    start(lab, 443)
    lab.balance(body(WEB, TLS, SQL))
    more = "/etc/nginx/lbhook/more.conf"
    include = f"{INCLUDE} {SECURE}"
    configure(lab, site("new", include), site("sql", f"include {more};"))
    some = "[targets.nginx.vars]\nexcept_ports = [5432]\n"
    some += like("m", more, "ports = [5432]")
    lab.vm.write("/etc/lbhook/lbhook.toml", some)
    for _ in range(2):
        done = asked(lab)
        assert done.returncode == 69
        assert done.stderr.count("blocked: nginx can't reload: it would close port 443") == 2
        assert secret(lab) == one(lab.vm, "tcp", VM4, 80).reply.split()[-1] == "old"
    tls = "/etc/nginx/lbhook/tls.conf"
    all_three = some + like("t", tls, 'ports = [443], parameters = "ssl"')
    lab.vm.write("/etc/lbhook/lbhook.toml", all_three)
    configure(lab, site("new", f"{include} include {tls};"), site("sql", f"include {more};"))
    assert asked(lab).returncode == 0
    wait_for(lambda: secret(lab) == "new", "TLS by a target of its own")
    for port, name in ((80, "new"), (5432, "sql")):
        # A worker of before may answer yet.
        wait_for(partial(_answers, lab, port, name), name)


def _answers(lab: Lab, port: int, name: str) -> bool:
    return one(lab.vm, "tcp", VM4, port).reply.split()[-1:] == [name]


def like(name: str, path: str, settings: str) -> str:
    """One more target of nginx."""
    return f'[targets.{name}]\nlike = "nginx"\npath = "{path}"\nvars = {{ {settings} }}\n'


def secret(lab: Lab) -> str:
    """The last word of what TLS answers."""
    argv = ["curl", "--silent", "--insecure", "--max-time", "10", f"https://{VM4}/"]
    return "".join(lab.vm.run(argv, check=False).stdout.split()[-1:])


@pytest.mark.parametrize("tls", [f"listen {VM4}:443 ssl;", "listen [::]:443 ssl ipv6only=off;"])
def test_two_targets_of_which_one_has_a_form_of_its_own(lab: Lab, tls: str) -> None:
    """What nginx holds for the one is no reason to hold the other back."""
    secure = 'like = "nginx"\npath = "/etc/nginx/lbhook/tls.conf"\n'
    certify(lab)
    configure(lab, site("old", "listen 80;"), site("secure", f"{tls} {SECURE}"))
    start(lab, 80)
    lab.balance(body(WEB, TLS))
    client = Asker(lab.vm, VM4, 80)
    include = INCLUDE.replace("listen.conf", "tls.conf")
    configure(lab, site("new"), site("secure", f"{include} {SECURE}"))
    text = "[targets.nginx]\nvars = {ports = [80]}\n[targets.nginx-tls]\n" + secure
    lab.vm.write("/etc/lbhook/lbhook.toml", text + 'vars = {ports = [443], parameters = "ssl"}\n')
    assert asked(lab).returncode == 0
    assert set(client.stop()) <= {"old", "new"}
    assert one(lab.vm, "tcp", VM4, 443).state == "open"


def test_one_block_for_two_targets_is_cleaned(lab: Lab) -> None:
    """With its last rules, and then lbhook, gone, nginx takes both files, and starts with them."""
    certify(lab)
    include = INCLUDE.replace("listen.conf", "tls.conf")
    configure(lab, site("site", f"{INCLUDE} {include} {SECURE}"))
    plain, secure = "vars = {ports = [80]}", 'vars = {ports = [443], parameters = "ssl"}'
    own = 'like = "nginx"\npath = "/etc/nginx/lbhook/tls.conf"'
    text = f"[targets.nginx]\n{plain}\n[targets.nginx-tls]\n{own}\n{secure}\n"
    lab.vm.write("/etc/lbhook/lbhook.toml", text)
    lab.balance(body(WEB, TLS))
    assert asked(lab).returncode == 0
    start(lab, 443)
    lab.balance(body(SQL))
    assert asked(lab).returncode == 0
    wait_for(lambda: not lab.vm.listens("tcp", 443), "the end of the last rule")
    assert lab.vm.lbhook("clean").returncode == 0
    stop(lab, 10009)
    start(lab, 10009)


def test_a_socket_for_both_families_is_shared_at_boot(lab: Lab) -> None:
    """`[::]:80 ipv6only=off` elsewhere, which no `listen 80;` can stand beside: nginx starts, and
    both sites are served."""
    configure(lab, site("other", "listen [::]:80 default_server ipv6only=off;"), site("site"))
    lab.balance(body(WEB))
    assert asked(lab).returncode == 0
    assert listeners(lab) == ["[::]:80"]
    assert re.search(rf"listen \[::\]:80; +# from {FRONT4}:80\n", lab.vm.read(LISTEN))
    start(lab, 80)
    assert one(lab.vm, "tcp", VM4, 80).state == "open"
    assert asked(lab).returncode == 0


@pytest.mark.parametrize(
    ("other", "outside", "says"),
    [
        ("listen 443 ssl;", "", "listens there with ssl, this target in plain text"),
        (f"listen {VM4}:443 ssl;", "", "listens there with ssl, this target in plain text"),
        ("listen 443 proxy_protocol;", "", "with proxy_protocol"),
        (
            "listen 81;",
            "stream {{ server {{ listen 443; return s; }} }}",
            "in stream {} opens *:443",
        ),
    ],
    ids=["tls", "tls at the address", "proxy_protocol", "stream"],
)
@pytest.mark.parametrize("form", ["port", "address"])
def test_what_others_serve_goes_on(
    lab: Lab, other: str, outside: str, says: str, form: str
) -> None:
    """Another server, or a stream, has the port of a rule: it alone is left out, at a boot and on
    a running nginx; doctor and plan say so, too, and nginx can start with what is written."""
    modules = "/usr/lib/nginx/modules/ngx_stream_module.so"
    if outside and not lab.vm.path(modules).exists():
        pytest.skip("no stream module")
    certify(lab)
    configure(lab, site("site"), site("other", f"{other} {SECURE}"), outside=outside.format())
    if outside:
        lab.vm.write(MAIN, f"load_module {modules};\n{lab.vm.read(MAIN)}")
    lab.vm.write("/etc/lbhook/lbhook.toml", f'[targets.nginx.vars]\nlisten = "{form}"\n')
    start(lab, 443 if "443" in other + outside else 81)
    lab.balance(body(WEB, TLS))
    for at in ("run", "boot"):
        if at == "boot":
            stop(lab, 443)
        done = asked(lab)
        assert done.returncode == 0, done.stderr
        assert "443 is left out: " in done.stderr
        assert not any(place.endswith("443") for place in listeners(lab))
        assert any(place.endswith("80") for place in listeners(lab))
        # A listener for an address would go before one for all, whatever that speaks.
        assert (says if form == "port" else f"{MAIN}:") in done.stderr
        assert "443 is left out" in lab.vm.lbhook("plan").stdout + lab.vm.lbhook("plan").stderr
        assert "443 is left out" in " ".join(lab.vm.lbhook("doctor", check=False).stdout.split())
        if at == "boot":
            start(lab, 443)
        assert one(lab.vm, "tcp", VM4, 80).reply.endswith("site\n")


def test_the_port_of_another_program(lab: Lab) -> None:
    """It keeps its port, while nginx runs and at the next boot, in which nginx is first; the
    firewall and the other listeners follow. SSH's port is never nginx's."""
    lab.vm.write(
        "/etc/lbhook/lbhook.toml",
        "[targets.nftables]\n[targets.nginx]\nvars = { except_ports = [444] }\n",
    )
    configure(lab, site("site"))
    start(lab, 10009)
    database = lab.vm.serve("tcp,0.0.0.0,5432")
    rules = (WEB, SQL, rule(FRONT4, 22, VM4, 2222), rule(FRONT4, 444, VM4, 22))
    lab.balance(body(*rules))
    done = asked(lab)
    assert done.returncode == 0
    assert "port 5432 is left out: " in done.stderr
    assert "has 0.0.0.0:5432; stop that program, or" in done.stderr
    assert listeners(lab) == ["80", "[::]:80", "2222", "[::]:2222"]
    assert one(lab.client, "tcp", FRONT4, 5432).state == "open"
    database.terminate()
    database.wait()
    stop(lab, 80)
    done = asked(lab)
    assert done.returncode == 0
    assert "had 0.0.0.0:5432 when lbhook looked last" in done.stderr
    start(lab, 80)
    lab.vm.serve("tcp,0.0.0.0,5432")
    lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.nginx]\nvars = { except_ports = [5432] }\n")
    done = asked(lab)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_takes_ipv6_alone_leaves_ipv4_to_nginx(lab: Lab) -> None:
    """Its port of IPv6 is its own, and left out; that of IPv4 is free, and nobody is told of it.
    One that takes both has both."""
    configure(lab, site("site"))
    start(lab, 10009)
    lab.vm.serve("tcp,[::],443", "tcp,::,5432")
    lab.balance(body(TLS, SQL, rule(FRONT6, 443, VM6, 443)))
    done = asked(lab)
    assert done.returncode == 0, done.stderr
    assert listeners(lab) == ["443"]
    assert "port 5432 is left out: " in done.stderr
    assert "port 443 is left out: " in done.stderr
    assert "has [::]:443; stop that program, or" in done.stderr
    assert one(lab.vm, "tcp", VM4, 443).reply.endswith("site\n")
    assert one(lab.vm, "tcp", VM6, 443).reply.startswith("GET /")
    doctor = " ".join(lab.vm.lbhook("doctor", check=False).stdout.split())
    assert "443 is left out" in doctor
    assert "already has" not in doctor
    lab.vm.run(["rm", "-rf", "/run/lbhook"])
    assert listeners(lab) == ["443"]


def test_a_socket_for_both_families_that_only_a_restart_parts(lab: Lab) -> None:
    """`ipv6only=off` is taken away, and nginx holds what it had: it can't open `listen 80;` beside
    that by any signal. That is said before nginx tries; after one restart all is up to date."""
    configure(lab, site("other", "listen [::]:80 ipv6only=off;"), site("site"))
    start(lab, 80)
    lab.balance(body(WEB))
    assert asked(lab).returncode == 0
    configure(lab, site("other", "listen 80; listen [::]:80;"), site("site"))
    done = asked(lab)
    assert done.returncode == 69
    assert "nginx listens on [::]:80; run once `systemctl stop nginx`" in done.stdout + done.stderr
    stop(lab, 80)
    start(lab, 80)
    assert asked(lab).returncode == 0
    assert listeners(lab) == ["80", "[::]:80"]


def test_a_line_that_only_a_restart_brings(lab: Lab) -> None:
    """nginx holds an address, and somebody adds `listen 80;`: no reload works. That is said in one
    sentence, nothing is touched, and after one restart all is up to date."""
    lab.vm.write("/etc/lbhook/lbhook.toml", '[targets.nginx.vars]\nlisten = "address"\n')
    configure(lab, site("site"))
    start(lab, 10009)
    lab.balance(body(WEB))
    assert asked(lab).returncode == 0
    configure(lab, site("site"), site("other", "listen 80;"))
    lab.balance(body(WEB, TLS))
    before = lab.vm.read(LISTEN)
    for _ in range(2):
        done = asked(lab)
        assert done.returncode == 69
        assert "run once `systemctl stop nginx`" in done.stdout + done.stderr
        assert "same was refused before" not in done.stderr
        assert lab.vm.read(LISTEN) == before
        assert one(lab.vm, "tcp", VM4, 80).reply.endswith("site\n")
    lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.nginx]\n")
    stop(lab, 80)
    start(lab, 80)
    assert asked(lab).returncode == 0
    assert one(lab.vm, "tcp", VM4, 443).reply.endswith("site\n")


def test_a_rule_goes_beside_a_line_for_a_single_address(lab: Lab) -> None:
    """nginx has every address by lbhook's file, and can't have that one alone by a signal: what is
    said to be done ends it, where a restart would bring back what the file has."""
    configure(lab, site("status", "listen 127.0.0.1:80;"), site("site"))
    lab.balance(body(WEB, TLS))
    assert asked(lab).returncode == 0
    start(lab, 80)
    lab.balance(body(TLS))
    done = asked(lab)
    assert done.returncode == 69
    assert "`systemctl stop nginx`, `lbhook apply`, `systemctl start nginx`" in done.stderr
    stop(lab, 80)
    assert asked(lab).returncode == 0
    start(lab, 443)
    assert asked(lab).returncode == 0
    assert one(lab.vm, "tcp", VM4, 80).state == "refused"


def test_a_wildcard_that_comes_and_goes(lab: Lab) -> None:
    """Debian's default site beside lbhook's file, then without it: every new rule is followed, and
    nobody is refused."""
    both = "listen 80 default_server; listen [::]:80 default_server;"
    configure(lab, site("default", both), site("site"))
    start(lab, 80)
    lab.balance(body(WEB))
    client = Asker(lab.vm, VM4, 80)
    assert asked(lab).returncode == 0
    configure(lab, site("site"))
    lab.balance(body(WEB, TLS))
    assert asked(lab).returncode == 0
    wait_for(lambda: one(lab.vm, "tcp", VM4, 443).reply.endswith("site\n"), "the new rule")
    configure(lab, site("default", both), site("site"))
    lab.balance(body(WEB))
    assert asked(lab).returncode == 0
    assert set(client.stop()) <= {"default", "site"}


def test_no_room_for_all_listeners(lab: Lab) -> None:
    """Each listener takes one of a worker's connections: nginx would start and serve nobody."""
    configure(lab, site("site"))
    main = lab.vm.read(MAIN).replace("events {}", "events { worker_connections 300; }")
    lab.vm.write(MAIN, main)
    start(lab, 10009)
    many = [rule(FRONT4, 20000 + number, VM4, 20000 + number) for number in range(298)]
    lab.balance(body(*many))
    done = asked(lab)
    assert done.returncode == 69
    assert "of its 300 worker_connections; set them to" in done.stderr
    lab.balance(body(*many[:200]))
    assert asked(lab).returncode == 0
    assert len(listeners(lab)) == 200
    assert one(lab.vm, "tcp", VM4, 20000).reply.endswith("site\n")


def test_a_rollback_of_the_first_apply_leaves_the_site_up(lab: Lab) -> None:
    """Its listeners are all that the edited site has; so it is after a restart, and for the next
    apply. A rollback of a later one takes away what that one brought."""
    configure(lab, site("old", "listen 80;"))
    start(lab, 80)
    lab.balance(body(WEB))
    client = Asker(lab.vm, VM4, 80)
    configure(lab, site("new"))
    assert asked(lab).returncode == 0
    wait_for(lambda: one(lab.vm, "tcp", VM4, 80).reply.endswith("new\n"), "the new site")
    undone = lab.vm.lbhook("rollback")
    assert "nginx: /etc/nginx/lbhook/listen.conf stays: " in undone.stderr
    assert set(client.stop()) == {"old", "new"}
    stop(lab, 80)
    start(lab, 80)
    before = lab.vm.read(LISTEN)
    assert asked(lab).returncode == 0
    assert lab.vm.read(LISTEN) == before
    lab.balance(body(WEB, TLS))
    assert asked(lab).returncode == 0
    assert listeners(lab) == ["80", "[::]:80", "443", "[::]:443"]
    lab.vm.lbhook("rollback")
    assert listeners(lab) == ["80", "[::]:80"]
    wait_for(lambda: not lab.vm.listens("tcp", 443), "the end of the later rule")


def test_a_target_that_goes_while_its_file_is_included(lab: Lab) -> None:
    """Nobody is served from then on: the plan and the apply say it, with what to do. Where the
    owner's lines are back first, nothing is said."""
    configure(lab, site("site"))
    lab.balance(body(WEB))
    assert asked(lab).returncode == 0
    start(lab, 80)
    lab.vm.write("/etc/lbhook/lbhook.toml", "")
    missed = f"nginx includes {LISTEN}, and it opens no port any more: put `listen` lines"
    for done in (lab.vm.lbhook("plan", check=False), asked(lab)):
        assert missed in " ".join(done.stderr.split())
    lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.nginx]\n")
    assert asked(lab).returncode == 0
    configure(lab, site("own", "listen 80;"))
    lab.vm.write("/etc/lbhook/lbhook.toml", "")
    assert "includes" not in asked(lab).stderr


def test_a_target_that_gets_another_path_keeps_its_site(lab: Lab) -> None:
    """Until nginx includes the new file, it has the old one; then that goes to rest."""
    configure(lab, site("site"))
    lab.balance(body(WEB))
    assert asked(lab).returncode == 0
    start(lab, 80)
    client = Asker(lab.vm, VM4, 80)
    moved = "/etc/nginx/lbhook/web.conf"
    lab.vm.write("/etc/lbhook/lbhook.toml", f'[targets.nginx]\npath = "{moved}"\n')
    for _ in range(2):
        done = asked(lab)
        assert done.returncode == 0
        assert f"put `include {moved};`" in done.stdout
        assert listeners(lab) == ["80", "[::]:80"]
    configure(lab, site("site", f"include {moved};"))
    assert asked(lab).returncode == 0
    assert listeners(lab) == ["127.0.0.127:10009"]
    assert set(client.stop()) == {"site"}


def test_lines_for_single_addresses(lab: Lab) -> None:
    """Those that rules lead to are lbhook's; one that no rule leads to stays in its block."""
    configure(lab, site("old", f"listen 127.0.0.1:80; listen {VM4}:80;"))
    start(lab, 80)
    lab.balance(body(WEB))
    client, local = Asker(lab.vm, VM4, 80), Asker(lab.vm, "127.0.0.1", 80)
    configure(lab, site("new", f"{INCLUDE} listen 127.0.0.1:80;"))
    assert asked(lab).returncode == 0
    assert listeners(lab) == [f"{VM4}:80"]

    def is_new() -> bool:
        said = (one(lab.vm, "tcp", ip, 80) for ip in (VM4, "127.0.0.1"))
        return all(it.reply.endswith("new\n") for it in said)

    wait_for(is_new, "the new site")
    assert set(client.stop()) == set(local.stop()) == {"old", "new"}


@pytest.mark.needs("setpriv")
def test_ports_that_nginx_may_not_open(lab: Lab) -> None:
    """It lacks the right for those below 1024: such a port alone is left out."""
    configure(lab, site("site"))
    lab.balance(body(SQL))
    assert asked(lab).returncode == 0
    lab.vm.run(["setpriv", "--bounding-set=-net_bind_service", "nginx"])
    wait_for(lambda: lab.vm.listens("tcp", 5432), "nginx")
    lab.balance(body(TLS, SQL, rule(FRONT4, 8443, VM4, 8443)))
    done = asked(lab)
    assert done.returncode == 0
    assert "port 443 is left out: nginx, as user root, has no CAP_NET_BIND_SERVICE" in done.stderr
    assert listeners(lab) == ["5432", "[::]:5432", "8443", "[::]:8443"]
    wait_for(lambda: one(lab.vm, "tcp", VM4, 8443).reply.endswith("site\n"), "the other port")
    # The last rule goes, and then lbhook: such an nginx takes that, and can start with it.
    lab.balance(body(rule(FRONT4, 53, VM4, 53, "Udp")))
    assert asked(lab).returncode == 0
    wait_for(lambda: not lab.vm.listens("tcp", 8443), "the end of the last rule")
    assert lab.vm.lbhook("clean").returncode == 0
    lab.vm.run(["nginx", "-s", "stop"])
    wait_for(lambda: not lab.vm.listens("tcp", 10009), "the end of nginx")
    lab.vm.run(["setpriv", "--bounding-set=-net_bind_service", "nginx"])
