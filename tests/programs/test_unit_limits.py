"""What lbhook's units may do, beside what the configuration asks of them."""

import os
from pathlib import Path, PurePosixPath

import pytest

from lbhook.config import settings as config
from lbhook.config.settings import Settings
from lbhook.config.toml_files import DEFAULT_FILE
from lbhook.programs import unit_limits
from lbhook.programs.host import Host
from lbhook.programs.unit_limits import UNITS, Need

from ..stand import NO_ENV, Runner, Stand
from ..test_units import values

LIMITS = {
    "LoadState": "loaded",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "RuntimeDirectory": "lbhook",
    "StateDirectory": "lbhook",
    "ReadWritePaths": " ".join(values("lbhook.service", "ReadWritePaths")),
    "CapabilityBoundingSet": "cap_net_admin cap_sys_ptrace",
}
OWN = 'template = "a.j2"\npath = "{}/own"\n'


def own(directory: str = "/etc/app", more: str = "") -> str:
    """A target of one's own in a directory."""
    return f"[targets.own]\n{OWN.format(directory)}{more}"


def shown(**different: str) -> Runner:
    """A systemd whose units have the limits that are shipped, but for what is `different`."""
    limits = {**LIMITS, **different}
    lines = "\n".join(f"{key}={value}" for key, value in limits.items())
    text = "\n\n".join(f"Id={unit}\n{lines}" for unit in UNITS)
    return Runner(lambda argv: (0, f"{text}\n") if argv[:2] == ("systemctl", "show") else None)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A machine on which systemd runs, with nothing but an application's directory."""
    (tmp_path / "machine/run/systemd/system").mkdir(parents=True)
    made = Stand(tmp_path)
    made.runner = shown()
    for place in ("etc/app", "home/app", "tmp/app", "run/app"):
        (made.disk / place).mkdir(parents=True)
    return made


def asked(stand: Stand, text: str) -> tuple[Host, Settings]:
    """The stand, and a configuration with its own paths for records."""
    settings = config.parse(f"{NO_ENV}{text}")
    return stand.host(settings), settings


def lacks(stand: Stand, text: str, *, thorough: bool = False) -> list[str]:
    """What is lacking, with what is to be done."""
    found = unit_limits.lacking(*asked(stand, text), thorough=thorough)
    return [f"{one.text} > {one.remedy}" for one in found]


def drop_in(stand: Stand, text: str) -> list[str]:
    """The directives of the drop-in for a configuration."""
    written = unit_limits.drop_in(unit_limits.needs(*asked(stand, text)))
    return [line for line in written.splitlines() if line[0] not in "#["]


def test_a_directory_that_the_units_may_not_write(stand: Stand) -> None:
    """Named with the target and what to do; with the drop-in that is written then, it is right."""
    text = own()
    assert lacks(stand, text) == [
        "own: lbhook's units may not write /etc/app > `sudo lbhook install` allows it"
    ]
    (line,) = drop_in(stand, text)
    assert line == "ReadWritePaths=-/etc/app"
    allowed = f"{LIMITS['ReadWritePaths']} {line.partition('=')[2]}"
    stand.runner = shown(ReadWritePaths=allowed)
    assert lacks(stand, text) == []


def test_only_the_units_that_lack_it_are_named(stand: Stand) -> None:
    """A drop-in that reaches one unit, and not those that the timer and the boot start."""
    text = stand.runner(("systemctl", "show")).output
    first = text.replace("StateDirectory=lbhook", "StateDirectory=lbhook\nProtectSystem=no", 1)
    stand.runner = Runner(lambda _: (0, first))
    (said,) = lacks(stand, own())
    assert said.startswith("own: lbhook.service, lbhook-refresh.service may not write /etc/app")


@pytest.mark.parametrize(
    ("different", "directory", "may"),
    [
        ({"ProtectSystem": "full"}, "/etc/app", False),
        ({"ProtectSystem": "full"}, "/run/app", True),
        ({"ProtectSystem": "yes"}, "/etc/app", True),
        ({"ProtectSystem": "no"}, "/etc/app", True),
        ({"ProtectHome": "yes", "ReadWritePaths": "/home/app"}, "/home/app", False),
        ({"ProtectHome": "read-only", "ReadWritePaths": "/home/app"}, "/home/app", True),
        ({"ProtectHome": "read-only", "ProtectSystem": "no"}, "/home/app", False),
        ({"RuntimeDirectory": "lbhook app"}, "/run/app", True),
        ({"ReadWritePaths": "-/etc"}, "/etc/app", True),
        ({"ReadWritePaths": '"-/etc/a b" /etc/app'}, "/etc/app", True),
        ({"ReadWritePaths": "/etc/application"}, "/etc/app", False),
        ({"ReadWritePaths": '"/etc/app'}, "/etc/app", False),
    ],
)
def test_effective_limits(
    stand: Stand, different: dict[str, str], directory: str, may: bool
) -> None:
    """As systemd.exec(5) has them, whoever set them."""
    stand.runner = shown(**different)
    assert (lacks(stand, own(directory)) == []) is may


def test_a_temporary_directory(stand: Stand) -> None:
    """What a unit writes there nobody else sees, and no drop-in is written for it."""
    stand.runner = shown(ProtectSystem="no")
    assert lacks(stand, own("/tmp/app")) == [
        "own: lbhook's units have a private /tmp > give the target another path"
    ]


def test_a_home(stand: Stand) -> None:
    """The drop-in lets the units see homes, and write into this one directory."""
    assert drop_in(stand, own("/home/app")) == [
        *("ReadWritePaths=-/home/app", "ProtectHome=read-only")
    ]


def test_a_file_of_another_user_s(stand: Stand) -> None:
    """Giving it away takes rights that the units lack."""
    text = own(more='owner = "daemon"\n')
    assert "own: lbhook's units may not change the owner of its file" in lacks(stand, text)[1]
    assert drop_in(stand, text)[1:] == [
        "CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER",
        "SystemCallFilter=@chown",
    ]
    rights = f"{LIMITS['CapabilityBoundingSet']} cap_chown cap_fowner"
    stand.runner = shown(ReadWritePaths="/etc/app", CapabilityBoundingSet=rights)
    assert lacks(stand, text) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize(
    ("mode", "group", "barred"), [(0o755, 1, True), (0o777, 1, False), (0o775, 0, False)]
)
def test_a_directory_of_another_user_s(stand: Stand, mode: int, group: int, barred: bool) -> None:
    """root without CAP_DAC_OVERRIDE is anybody, or one of its group."""
    os.chown(stand.disk / "etc/app", 1, group)
    (stand.disk / "etc/app").chmod(mode)
    assert ("CapabilityBoundingSet=CAP_DAC_OVERRIDE" in drop_in(stand, own())) is barred
    stand.runner = shown(ReadWritePaths="/etc/app")
    assert bool(lacks(stand, own())) is barred
    stand.runner = shown(ReadWritePaths="/etc/app", CapabilityBoundingSet="cap_dac_override")
    assert lacks(stand, own()) == []


def test_a_directory_that_is_not_there(stand: Stand) -> None:
    """It can't be let into a unit; of a program that is not installed nobody asks for it."""
    text = own("/etc/other") + 'requires = ["app"]\n'
    assert lacks(stand, text)[0] == (
        "own: /etc/other is not there, and lbhook's units can't make it > `sudo lbhook install`"
        " makes it"
    )
    stand.find = lambda _: None
    assert not [line for line in lacks(stand, text) if "is not there" in line]


def test_what_else_is_written(stand: Stand) -> None:
    """Metrics, and lbhook's own records where the configuration moves them."""
    (stand.disk / "srv/lbhook").mkdir(parents=True)
    text = '[paths]\nstate = "/srv/lbhook"\n[metrics]\ntextfile = "/etc/app/lbhook.prom"\n'
    assert drop_in(stand, text) == [
        *("ReadWritePaths=-/etc/app", "ReadWritePaths=-/srv/lbhook"),
        "ConditionDirectoryNotEmpty=",
    ]
    assert [line.partition(":")[0] for line in lacks(stand, text)] == [
        *("metrics.textfile", "paths.state")
    ]


def test_shipped_targets_need_nothing(stand: Stand) -> None:
    """Only the doctor asks systemd about them: somebody may have taken a right away."""
    for place in ("etc/nftables.d", "etc/nginx/lbhook"):
        (stand.disk / place).mkdir(parents=True)
    text = "[targets.nftables]\n[targets.nginx]\n"
    assert (lacks(stand, text), stand.runner.taken()) == ([], [])
    assert lacks(stand, text, thorough=True) == []
    stand.runner = shown(ReadWritePaths="")
    assert [line.partition(":")[0] for line in lacks(stand, text, thorough=True)] == [
        *("nftables", "nginx")
    ]
    assert drop_in(stand, text) == []


def test_where_no_unit_is_asked(stand: Stand, tmp_path: Path) -> None:
    """Below a root, without systemd, without lbhook's units, and with a configuration that they do
    not read."""
    stand.live = False
    assert lacks(stand, own()) == []
    stand.live = True
    stand.runner = shown(LoadState="not-found")
    assert lacks(stand, own()) == []
    stand.runner = shown()
    host, settings = asked(stand, own())
    elsewhere = settings._replace(files=(tmp_path / "lbhook.toml",))
    assert unit_limits.lacking(host, elsewhere) == ()
    (stand.place / "machine/run/systemd/system").rmdir()
    assert lacks(stand, own()) == []


@pytest.mark.parametrize(
    ("directory", "written"),
    [
        ("/etc/my app", 'ReadWritePaths="-/etc/my app"'),
        ("/etc/100%", "ReadWritePaths=-/etc/100%%"),
        ('/etc/"', 'ReadWritePaths="-/etc/\\""'),
    ],
)
def test_names_that_systemd_would_read_otherwise(directory: str, written: str) -> None:
    """Quoted as systemd.syntax(7) has it."""
    need = Need(name="own", directory=PurePosixPath(directory))
    assert written in unit_limits.drop_in([need])


def test_a_configuration_that_only_root_can_read(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `umask 027` leaves it: the user that asks Azure can't go by it."""
    host, settings = asked(stand, "")
    file = DEFAULT_FILE.with_name("lbhook.toml.d") / "absent.toml"
    assert unit_limits.lacking(host, settings._replace(files=(file,))) == ()
    monkeypatch.setattr(unit_limits, "DEFAULT_FILE", stand.place / "lbhook.toml")
    found = unit_limits.unread(settings._replace(files=(closed(stand.place),)))
    assert [one.remedy for one in found] == [f"`chmod go+rX {stand.place}/closed.toml`"]


def closed(place: Path) -> Path:
    """A file that others can't read, in a directory that they can."""
    place.chmod(0o755)
    file = place / "closed.toml"
    file.touch(mode=0o640)
    return file
