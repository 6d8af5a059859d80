"""What there is beside lbhook's files for nginx: below a root, as the kernel writes it."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lbhook.judging import failed_start
from lbhook.judging.nginx_listeners import stamps
from lbhook.judging.surroundings import Surroundings
from lbhook.listening.haproxy_config import Bind
from lbhook.listening.nginx_sockets import Room
from lbhook.memory.records import Installed, Port
from lbhook.plan import FileState

from ..stand import Runner, Stand

LISTEN = "/etc/nginx/lbhook/listen.conf"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid inode\n"
TWO = "nginx@two.service"
SQL = Port(5432, "tcp", "0.0.0.0", "postgres", "postgresql.service")


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A machine with systemd."""
    built = Stand(tmp_path)
    put(built, "run/systemd/system/here")
    return built


def put(stand: Stand, name: str, text: str = "") -> None:
    """Write a file of the machine."""
    file = stand.place / "machine" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def process(stand: Stand, pid: int, name: str, *inodes: int, unit: str = "") -> None:
    """Let a program run that holds these sockets."""
    put(stand, f"proc/{pid}/comm", f"{name}\n")
    put(stand, f"proc/{pid}/cgroup", f"0::/system.slice/{unit}\n")
    put(stand, f"proc/{pid}/limits", "Max open files            1024                 524288\n")
    place = stand.place / "machine/proc" / str(pid) / "fd"
    place.mkdir()
    for inode in inodes:
        (place / str(inode)).symlink_to(f"socket:[{inode}]")


def sockets(stand: Stand, *rows: tuple[str, int]) -> None:
    """Let these sockets listen: address and port in hex, and an inode."""
    lines = "".join(
        f" 0: {where} 00000000:0000 0A 0:0 00:0 0 0 0 {inode} 1\n" for where, inode in rows
    )
    put(stand, "proc/self/net/tcp", HEAD + lines)


def around(stand: Stand, anywhere: bool = False) -> Surroundings:
    """What there is, as root sees it."""
    host = stand.host(stand.settings(""))
    return Surroundings(host, {LISTEN}, set(), anywhere)


def test_whose_a_socket_is(stand: Stand) -> None:
    """nginx's by its main process, all else by whoever holds it; a unit comes with it."""
    sockets(stand, ("00000000:0050", 11), ("0100007F:1F90", 12))
    process(stand, 100, "nginx", 11, 14, unit="nginx.service")
    process(stand, 200, "app", 12, unit="app.service")
    put(stand, "run/nginx.pid", "100\n")
    seen = around(stand)
    assert [one.place for one in seen.held or ()] == ["*:80"]
    assert seen.others == (Port(8080, "tcp", "127.0.0.1", "app", "app.service"),)
    assert seen.room == Room(connections=512, workers=1, files=1024)


def test_nginx_without_a_unit(stand: Stand) -> None:
    """In a container with the network of this machine, told by a command of the user's."""
    sockets(stand, ("00000000:0050", 11))
    process(stand, 100, "nginx", 11)
    assert around(stand).held is None
    assert [one.place for one in around(stand, anywhere=True).held or ()] == ["*:80"]


@pytest.mark.parametrize(
    ("answer", "comes"), [("enabled\n", True), ("disabled\n", False), ("", False)]
)
def test_what_another_program_had(stand: Stand, answer: str, comes: bool) -> None:
    """It counts for as long as its unit is enabled, and not for a port that is named."""
    stand.runner = Runner(lambda argv: (0, answer if "is-enabled" in argv else ""))
    sockets(stand)
    stand.host(stand.settings("")).state.keep_ports((SQL,))
    seen = around(stand)
    assert [one.program for one in seen.taken(())] == (["postgres"] if comes else [])
    assert [*seen.taken((5432,))] == []
    seen.remember()
    assert seen.host.ports == ((SQL,) if comes else ())


def test_what_had_no_unit_counts_before_nginx_runs(stand: Stand) -> None:
    """Nobody knows whether it comes again, and this may be a boot."""
    sockets(stand, ("00000000:0050", 11))
    stand.host(stand.settings("")).state.keep_ports((SQL._replace(unit=""),))
    assert [one.there for one in around(stand).taken(()) if one.port == 5432] == [False]
    process(stand, 100, "nginx", 11)
    put(stand, "run/nginx.pid", "100\n")
    assert [one for one in around(stand).taken(()) if one.port == 5432] == []


def test_another_nginx(stand: Stand) -> None:
    """One of the same name that is no part of nginx.service is like any other program: it has its
    port now, and at the next boot."""
    stand.runner = Runner(lambda argv: (0, "enabled\n") if "is-enabled" in argv else (0, ""))
    process(stand, 100, "nginx", 11, unit="nginx.service")
    put(stand, "run/nginx.pid", "100\n")
    process(stand, 200, "nginx", 12, unit="gitlab-runsvdir.service")
    sockets(stand, ("00000000:0050", 11), ("00000000:20FB", 12))
    seen = around(stand)
    assert [str(one) for one in seen.taken(())] == [
        "another nginx (gitlab-runsvdir.service) has 0.0.0.0:8443"
    ]
    seen.remember()
    seen.host.state.keep_ports(seen.host.ports or ())
    sockets(stand)
    (had,) = around(stand).taken(())
    assert (
        str(had)
        == "another nginx (gitlab-runsvdir.service) had 0.0.0.0:8443 when lbhook looked last"
    )


def test_an_nginx_of_another_unit_has_what_is_its_own(stand: Stand) -> None:
    """It is found by the unit that its target names, and what nginx.service has is another's to it,
    as its own is to nginx.service: also at a boot, before either runs."""
    shown = "ActiveState=active\nMainPID=200\n"
    stand.runner = Runner(lambda argv: (0, "enabled\n" if "is-enabled" in argv else shown))
    process(stand, 100, "nginx", 11, unit="nginx.service")
    process(stand, 200, "nginx", 12, unit="nginx@two.service")
    put(stand, "run/nginx.pid", "100\n")
    sockets(stand, ("00000000:0050", 11), ("00000000:20FB", 12))

    def both() -> list[list[str]]:
        host = stand.host(stand.settings(""))
        found = [Surroundings(host, {LISTEN}, (), False, unit=unit) for unit in ("", TWO)]
        for one in found:
            one.remember()
        host.state.keep_ports(host.ports or ())
        return [[str(each) for each in one.taken(())] for one in found]

    one, two = "another nginx (nginx.service)", f"another nginx ({TWO})"
    assert both() == [[f"{two} has 0.0.0.0:8443"], [f"{one} has 0.0.0.0:80"]]
    sockets(stand)
    put(stand, "run/nginx.pid")
    stand.runner = Runner(lambda argv: (0, "enabled\n" if "is-enabled" in argv else ""))
    had = "{} had 0.0.0.0:{} when lbhook looked last".format
    assert both() == [[had(two, 8443)], [had(one, 80)]]


def test_nginx_before_its_pid_file(stand: Stand) -> None:
    """It listens by then, and is no other one: its port is its own after a boot."""
    stand.runner = Runner(lambda argv: (0, "enabled\n") if "is-enabled" in argv else (0, ""))
    process(stand, 100, "nginx", 11, unit="nginx.service")
    sockets(stand, ("00000000:0050", 11))
    seen = around(stand)
    seen.remember()
    seen.host.state.keep_ports(seen.host.ports or ())
    sockets(stand)
    assert [*around(stand).taken(())] == []


SYSV = """vendor.service is not a native service, redirecting to systemd-sysv-install.
Executing: /usr/lib/systemd/systemd-sysv-install is-enabled vendor
"""


@pytest.mark.parametrize(
    ("unit", "asked", "answer", "comes"),
    [
        ("docker-0123abcd.scope", "docker.service", "enabled", True),
        ("docker-0123abcd.scope", "docker.service", "disabled", False),
        ("docker-deadbeef.scope", "", "enabled", False),
        ("docker-web.scope", "", "enabled", False),
        ("libpod-0123abcd.scope", "podman-restart.service", "enabled", True),
        ("libpod-conmon-0123abcd.scope", "podman-restart.service", "enabled", True),
        ("libpod-conmon-deadbeef.scope", "", "enabled", False),
        ("session-3.scope", "", "enabled", False),
        ("init.scope", "", "static", False),
        ("vendor.service", "vendor.service", "generated", True),
        ("vendor.service", "vendor.service", f"{SYSV}enabled", True),
        ("vendor.service", "vendor.service", f"{SYSV}disabled", False),
        ("cockpit.service", "cockpit.service", "static", True),
        ("gone.service", "gone.service", "", False),
    ],
)
def test_what_starts_with_the_machine(
    stand: Stand, unit: str, asked: str, answer: str, comes: bool
) -> None:
    """Also by a script of SysV, by another unit, by an engine if the container still exists. What
    somebody started in a session does not come back; systemd's own sockets are there before."""
    put(stand, "var/lib/docker/containers/0123abcd/config.v2.json")
    put(stand, "var/lib/containers/storage/overlay-containers/0123abcd/userdata/config.json")
    stand.runner = Runner(lambda argv: (0, f"{answer}\n") if "is-enabled" in argv else (0, ""))
    sockets(stand)
    stand.host(stand.settings("")).state.keep_ports((SQL._replace(unit=unit),))
    assert bool([*around(stand).taken(())]) is comes
    calls = [one for one in stand.runner.taken() if "is-enabled" in one]
    assert calls == ([f"systemctl is-enabled {asked}"] if asked else [])


@pytest.mark.parametrize(
    ("unit", "files", "comes"),
    [
        ("docker-0123.scope", {"mnt/docker/containers/0123/x": ""}, True),
        ("docker-0123.scope", {"var/lib/docker/containers/0123/x": ""}, False),
        ("libpod-0123.scope", {"mnt/podman/overlay-containers/0123/x": ""}, True),
        (
            "docker-0123.scope",
            {"mnt/docker/containers/0123/hostconfig.json": '{"RestartPolicy":{"Name":"no","x":0}}'},
            False,
        ),
        (
            "docker-0123.scope",
            {"mnt/docker/containers/0123/hostconfig.json": '{"RestartPolicy":{"Name":"always"}}'},
            True,
        ),
    ],
)
def test_containers_where_their_owner_keeps_them(
    stand: Stand, unit: str, files: dict[str, str], comes: bool
) -> None:
    """On a disk of their own, as daemon.json and storage.conf say; Docker starts none again that
    was to run once."""
    put(stand, "etc/docker/daemon.json", '{\n  "data-root": "/mnt/docker"\n}\n')
    put(stand, "etc/containers/storage.conf", '[storage]\ngraphroot = "/mnt/podman"\n')
    for name, text in files.items():
        put(stand, name, text)
    stand.runner = Runner(lambda argv: (0, "enabled\n") if "is-enabled" in argv else (0, ""))
    sockets(stand)
    stand.host(stand.settings("")).state.keep_ports((SQL._replace(unit=unit),))
    assert bool([*around(stand).taken(())]) is comes


LISTED = """0.0.0.0:80 Stream web.socket nginx.service
[::]:8080 Stream web.socket nginx.service
[::1]:53 Datagram web.socket nginx.service
0.0.0.0:9090 Stream panel.socket panel.service
0.0.0.0:81 Stream old.socket nginx.service
/run/dbus/system_bus_socket Stream dbus.socket dbus.service
"""


def triggered(stand: Stand) -> None:
    """Let systemd keep sockets for nginx, and one for another program, of which two are open."""

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if "is-enabled" in argv:
            return 0, "disabled\n" if argv[-1] == "old.socket" else "enabled\n"
        return 0, LISTED if "list-sockets" in argv else "TriggeredBy=web.socket\n"

    stand.runner = Runner(answer)
    sockets(stand, ("00000000:0050", 11), ("00000000:2382", 12))
    process(stand, 1, "systemd", 11, 12, unit="init.scope")
    # It is about to become another program.
    process(stand, 50, "(agetty)", 11, 12, unit="getty@tty1.service")


def test_sockets_that_systemd_keeps_for_nginx(stand: Stand) -> None:
    """They are its own before it runs, open or not, if their unit is enabled; one for both families
    is one. Another's is that of its unit, also at the next boot."""
    triggered(stand)
    put(stand, "proc/sys/net/ipv6/bindv6only", "0\n")
    seen = around(stand)
    held = [(one.place, one.protocol, one.dual) for one in seen.held or ()]
    assert held == [("*:80", "tcp", False), ("[::]:8080", "tcp", True), ("[::1]:53", "udp", False)]
    assert [str(one) for one in seen.taken(())] == ["panel.socket has 0.0.0.0:9090"]
    seen.remember()
    stand.host(stand.settings("")).state.keep_ports(seen.host.ports or ())
    sockets(stand)
    had = [str(one) for one in around(stand).taken(())]
    assert had == ["panel.socket had 0.0.0.0:9090 when lbhook looked last"]


def test_a_socket_that_nginx_has_given_up(stand: Stand) -> None:
    """It was started without a line for it: by a signal it can't have it again."""
    triggered(stand)
    process(stand, 100, "nginx", 13, unit="nginx.service")
    put(stand, "run/nginx.pid", "100\n")
    names = [str(one) for one in around(stand).taken(())]
    assert names == ["web.socket has 0.0.0.0:80", "panel.socket has 0.0.0.0:9090"]


def beside_haproxy(stand: Stand, *ports: int) -> Surroundings:
    """What there is at these ports."""
    return Surroundings(stand.host(stand.settings("")), (), set(), False, "haproxy", ports)


@pytest.mark.parametrize(("enabled", "there"), [("enabled", ["nginx"]), ("disabled", [])])
def test_what_haproxy_can_not_have_at_its_start(
    stand: Stand, enabled: str, there: list[str]
) -> None:
    """What another program has is kept while haproxy runs, and counts until it runs again, if that
    program starts with the machine; other ports are not looked at, its own sockets are its own."""
    stand.runner = Runner(lambda argv: (0, f"{enabled}\n") if "is-enabled" in argv else (0, ""))
    process(stand, 100, "nginx", 11, 14, unit="nginx.service")
    process(stand, 200, "haproxy", 12)
    process(stand, 201, "haproxy", 13)
    put(stand, "run/haproxy.pid", "200\n")
    put(stand, "proc/200/task/200/children", "201 ")
    sockets(stand, ("00000000:0050", 11), ("00000000:1F90", 14), ("0400010A:01BB", 13))
    seen = beside_haproxy(stand, 80, 443)
    seen.remember()
    assert [one.place for one in seen.held or ()] == ["10.1.0.4:443"]
    assert [(one.program, one.port) for one in seen.host.ports or ()] == [("nginx", 80)]
    seen.host.state.keep_ports(seen.host.ports or ())
    stand.boot_id = "boot-2"
    put(stand, "run/haproxy.pid")
    sockets(stand)
    boot = beside_haproxy(stand, 80, 443)
    assert [one.program for one in boot.taken(())] == there
    assert [*boot.taken([80])] == []
    assert [*around(stand).taken(())] == []  # of nginx they are its own


def other(stand: Stand, enabled: str, *pids: str) -> Surroundings:
    """Beside a haproxy whose worker has 10.1.0.4:443, and nginx's unit in this state."""
    stand.runner = Runner(lambda argv: (0, f"{enabled}\n") if "is-enabled" in argv else (0, ""))
    process(stand, 200, "haproxy", 12, unit="haproxy.service")
    process(stand, 201, "haproxy", 13, unit="haproxy.service")
    process(stand, 300, "haproxy", 14, unit="haproxy@two.service")
    put(stand, "run/haproxy.pid", *pids)
    put(stand, "proc/200/task/200/children", "201 ")
    sockets(stand, ("0400010A:01BB", 13), ("00000000:0050", 14), ("00000000:0801", 15))
    return beside_haproxy(stand, 80, 443, 2049)


def test_what_the_running_haproxy_can_not_have(stand: Stand) -> None:
    """What others hold: another haproxy among them, and whoever is not to be found, as the kernel's
    own NFS. While it does not run these may be itself."""
    found = [(one.program, one.port) for one in other(stand, "disabled", "200\n").taken(())]
    assert found == [("another haproxy (haproxy@two.service)", 80), ("", 2049)]
    put(stand, "run/haproxy.pid")
    assert [*beside_haproxy(stand, 80, 443, 2049).taken(())] == []


def test_a_haproxy_of_another_unit_has_what_is_its_own(stand: Stand) -> None:
    """It is found by the unit that its target names, and haproxy.service is another program to
    it: lbhook's own listeners would be left out, and asked for again, by each run in turn."""
    put(stand, "proc/300/task/300/children", "")
    other(stand, "disabled", "200\n")
    stand.runner = Runner(lambda _: (0, "ActiveState=active\nMainPID=300\n"))
    seen = Surroundings(
        stand.host(stand.settings("")),
        (),
        set(),
        False,
        "haproxy",
        (80, 443),
        "haproxy@two.service",
    )
    other_one = "another haproxy (haproxy.service)"
    assert [(one.program, one.port) for one in seen.taken(())] == [(other_one, 443)]
    assert [one.place for one in seen.held or ()] == ["*:80"]
    seen.remember()
    seen.host.state.keep_ports(seen.host.ports or ())
    # Neither runs yet in the next boot: it is another one's to the other target alone.
    put(stand, "run/haproxy.pid")
    sockets(stand)
    for unit, taken in (("haproxy@two.service", [443]), ("haproxy.service", [])):
        stand.runner = Runner(lambda argv: (0, "enabled\n" if "is-enabled" in argv else ""))
        there = Surroundings(
            stand.host(stand.settings("")), (), set(), False, "haproxy", (80, 443), unit
        )
        assert [one.port for one in there.taken(())] == taken


def test_who_comes_back_while_haproxy_runs(stand: Stand) -> None:
    """A database that is restarted just now gets its port again; what haproxy has it keeps."""
    seen = other(stand, "enabled", "200\n")
    known = [SQL._replace(port=port) for port in (443, 2049, 5432)]
    seen.host.state.keep_ports(known)
    sockets(stand, ("0400010A:01BB", 13))
    seen = beside_haproxy(stand, 443, 2049)
    assert [(one.program, one.port) for one in seen.taken(())] == [("postgres", 2049)]
    assert [*seen.taken((2049,))] == []


LINES = [
    Bind(IPv4Address(0), 80, 80, "nginx.conf:3"),
    Bind(IPv4Address(0), 440, 450, "nginx.conf:4"),
]


@pytest.mark.parametrize(
    ("enabled", "pid", "asked"),
    [
        ("enabled", "", [(80, "nginx.conf:3"), (443, "nginx.conf:4")]),
        ("enabled", "200\n", [(80, "nginx.conf:3")]),
        ("disabled", "", []),
        ("masked", "200\n", []),
    ],
)
def test_what_anothers_configuration_asks_for(
    stand: Stand, enabled: str, pid: str, asked: list[tuple[int, str]]
) -> None:
    """If it starts with the machine; what haproxy has by now is told apart, and goes on."""
    seen = other(stand, enabled, pid)
    found = [*seen.asked("nginx", LINES, [80, 443, 8080])]
    assert sorted((one.port, one.line) for one in found if not seen.has(one)) == asked
    assert [one.port for one in found if seen.has(one)] == ([443] if len(asked) == 1 else [])


def test_the_configuration_of_the_running_nginx(stand: Stand) -> None:
    """That which it was started with, and what differs once a file of it changes."""
    process(stand, 100, "nginx")
    put(stand, "run/nginx.pid", "100\n")
    put(stand, "proc/100/cmdline", "nginx: master process nginx -c /etc/own/nginx.conf\0")
    put(stand, "etc/own/nginx.conf", f"http {{ server {{ include {LISTEN}; listen 81; }} }}")
    seen = around(stand)
    assert [one.place for one in seen.configuration.listens] == ["*:81"]
    assert seen.configuration.server_of(LISTEN) == {1}
    root, looked = stand.place / "machine", seen.looked_at()
    before = stamps(root, looked)
    assert before == stamps(root, looked)
    put(stand, "etc/own/more.conf")
    assert before != stamps(root, looked)


@pytest.mark.parametrize(
    ("active", "result", "sound", "why"),
    [
        ("failed", "exit-code", 0, "bind() to 0.0.0.0:80 failed (13: Permission denied)"),
        ("failed", "signal", 0, ""),
        ("failed", "exit-code", 1, ""),
        ("inactive", "success", 0, ""),
    ],
)
def test_why_it_could_not_start(
    stand: Stand, active: str, result: str, sound: int, why: str
) -> None:
    """It ended by itself, with what lbhook wrote and a configuration that is sound."""

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[0] == "journalctl":
            return 0, "nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)\n"
        if argv[0] == "nginx":
            return sound, ""
        return 0, f"ActiveState={active}\nMainPID=0\nResult={result}\n"

    stand.runner = Runner(answer)
    settings = stand.settings("[targets.nginx]")
    target = next(one for one in settings.targets if one.name == "nginx")
    file = FileState(content=b"listen 80;\n", mode=0o644)
    record = Installed("nginx", LISTEN, file.digest, 0o644, kind="nginx", resting="listen 9;\n")
    host = stand.host(settings)
    assert failed_start.cause(host, target, file, record) == why
    rest = FileState(content=b"listen 9;\n", mode=0o644)
    assert failed_start.cause(host, target, rest, record._replace(digest=rest.digest)) == ""
