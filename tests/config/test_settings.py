"""The configuration: every key in its final type, files in order, all problems at once."""

from pathlib import Path, PurePosixPath

import pytest

from lbhook.config import settings as config
from lbhook.config.settings import Hooks, Imds, Metrics, Settings
from lbhook.config.targets import Target
from lbhook.errors import ConfigError
from lbhook.paths import Paths

# The contract's example, word for word.
EXAMPLE = """
[imds]
endpoint = "http://169.254.169.254"
api_version = "2020-10-01"
wait = "5m"
wait_cached = "15s"
absent_wait = "0s"
absent = "keep"
empty_answer = "confirm"
stale_after = "7d"
instance = false

[paths]
state = "/var/lib/lbhook"
runtime = "/run/lbhook"
templates = ["/etc/lbhook/templates"]
identity = "/sys/class/dmi/id/product_uuid"

[targets.nftables]
vars = { ssh_ports = [22], allow = [{ protocol = "tcp", port = 9100, from = "10.0.0.0/8" }] }

[targets.nginx-tls]
like = "nginx"
path = "/etc/nginx/lbhook/listen-tls.conf"
vars = { ports = [8443], parameters = "ssl" }

[targets.motd]
template = "motd.j2"
path = "/etc/motd"
mode = "0644"
owner = "root"
group = "root"
requires = ["run-parts"]
check = ["grep", "-q", ".", "{staged}"]
check_live = []
reload_unit = "app.service"
verify = ["test", "-s", "{path}"]
remove = []
timeout = "30s"
enabled = true
vars = { greeting = "hello" }
"""


def problems(text: str) -> tuple[str, ...]:
    """Everything that is wrong with a configuration of one file."""
    with pytest.raises(ConfigError) as caught:
        config.parse(text)
    assert caught.value.hint == "nothing was changed; fix the configuration"
    return caught.value.problems


def target(settings: Settings, name: str) -> Target:
    """One target by name."""
    return next(one for one in settings.targets if one.name == name)


def test_the_contracts_example_is_the_default() -> None:
    """[imds] and [paths] of the example say what holds without a file, in final types."""
    settings = config.parse(EXAMPLE)
    assert settings.imds == Imds() == config.parse("").imds
    assert settings.paths == Paths() == config.parse("").paths
    assert settings.imds._asdict() == {
        "endpoint": "http://169.254.169.254",
        "api_version": "2020-10-01",
        "wait": 300.0,
        "wait_cached": 15.0,
        "absent_wait": 0.0,
        "absent": "keep",
        "empty_answer": "confirm",
        "stale_after": 604800.0,
        "instance": False,
        "obey_tag": False,
    }
    assert settings.paths._asdict() == {
        "state": PurePosixPath("/var/lib/lbhook"),
        "runtime": PurePosixPath("/run/lbhook"),
        "templates": (PurePosixPath("/etc/lbhook/templates"),),
        "identity": PurePosixPath("/sys/class/dmi/id/product_uuid"),
        "snippets": PurePosixPath("/etc/lbhook/nftables.d"),
    }


def test_only() -> None:
    """The active targets that were asked for."""
    settings = config.parse("[targets.nginx]")
    assert [one.name for one in settings.active(("nginx", "nftables"))] == ["nginx"]


def test_endpoint_named() -> None:
    """An endpoint in the configuration is named, even if it is the default one."""
    assert config.parse(EXAMPLE).endpoint_named
    assert not config.parse("[imds]\nwait = '1s'").endpoint_named


def write(place: Path, **files: str) -> Path:
    """A configuration with drop-ins; `main` is the file itself."""
    main = place / "lbhook.toml"
    (place / "lbhook.toml.d").mkdir()
    for name, text in files.items():
        (main if name == "main" else place / "lbhook.toml.d" / f"{name}.toml").write_text(text)
    return main


def test_drop_ins_in_order(tmp_path: Path) -> None:
    """Tables are merged key by key, the later file wins, and a list is replaced as a whole."""
    main = write(
        tmp_path,
        main='[imds]\nwait = "1s"\nwait_cached = "1s"\n[targets.nginx]\nvars = { ports = [1] }\n',
        b_late='[imds]\nwait = "3s"\n',
        a_early='[imds]\nwait = "2s"\n[targets.nginx.vars]\nports = [2]\nparameters = "ssl"\n',
    )
    (tmp_path / "lbhook.toml.d" / "z.conf").write_text("not read")
    settings = config.load(main)
    assert (settings.imds.wait, settings.imds.wait_cached) == (3.0, 1.0)
    assert target(settings, "nginx").vars["ports"] == (2,)
    assert target(settings, "nginx").vars["parameters"] == "ssl"
    drop_ins = tmp_path / "lbhook.toml.d"
    assert settings.files == (main, drop_ins / "a_early.toml", drop_ins / "b_late.toml")


def test_a_problem_names_the_file_that_set_the_key(tmp_path: Path) -> None:
    """With several files, each problem says which one to fix."""
    main = write(
        tmp_path, main='[imds]\nwait = "1s"\nabsent = "x"\n', a="[imds]\nwait = 5\n", b="[imds\n"
    )
    drop_ins = tmp_path / "lbhook.toml.d"
    with pytest.raises(ConfigError) as caught:
        config.load(main)
    toml, *rest = caught.value.problems
    assert toml.startswith(f"{drop_ins / 'b.toml'}: not TOML: ")
    assert rest == [
        f'{drop_ins / "a.toml"}: imds.wait: 5 is not a duration such as "90s" or "5m"',
        f'{main}: imds.absent: "x" is not "keep" or "empty"',
    ]


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    """No default for a file that somebody named."""
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "lbhook.toml")
    assert caught.value.problems == (f"{tmp_path / 'lbhook.toml'}: No such file or directory",)


def test_what_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the user that asks Azure, where `umask 027` was in force: not as if nothing were there,
    and each by its path. Without any file all defaults hold."""
    monkeypatch.setattr(config, "DEFAULT_FILE", main := tmp_path / "lbhook.toml")
    assert config.load().files == ()

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", closed)
    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(ConfigError) as caught:
        config.load()
    assert caught.value.problems == (
        f"{main}: Permission denied; run as root, or `chmod go+rX {main}`",
        f"{main}.d: Permission denied; run as root, or `chmod go+rX {main}.d`",
    )


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    """The byte that is not UTF-8 is named; a directory is not read."""
    file = tmp_path / "lbhook.toml"
    file.write_bytes(b"# \xff")
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert caught.value.problems == (f"{file}: not UTF-8 at byte 2",)
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path)
    assert caught.value.problems == (f"{tmp_path}: Is a directory",)


def test_all_problems_at_once() -> None:
    """One run shows everything that is wrong, each with its key."""
    text = """
colour = "red"
[imds]
endpoint = "http://imds.example"
wiat = "5m"
instance = 1
[paths]
state = "var"
templates = "/etc/x"
[targets.nftables]
vars = { ssh_port = [22], ssh_ports = [0] }
[targets.nginx]
mode = "0999"
timeout = "0"
requires = "nginx"
check = [1]
[targets."a b"]
template = "x.j2"
path = "/x"
"""
    assert problems(text) == (
        "lbhook.toml: colour: unknown key; known: imds, paths, hooks, metrics, drain, rules,"
        " targets",
        'lbhook.toml: imds.endpoint: "http://imds.example" is not http:// with an IP address or'
        " localhost, and perhaps a port",
        'lbhook.toml: imds.wiat: unknown key; did you mean "wait"?',
        "lbhook.toml: imds.instance: 1 is not true or false",
        'lbhook.toml: paths.state: "var" is not an absolute path without ".."',
        'lbhook.toml: paths.templates: "/etc/x" is not a list',
        'lbhook.toml: targets.nftables.vars.ssh_port: unknown key; did you mean "ssh_ports"?',
        "lbhook.toml: targets.nftables.vars.ssh_ports[0]: 0 is not a port",
        'lbhook.toml: targets.nginx.mode: "0999" is not a mode such as "0644"',
        'lbhook.toml: targets.nginx.timeout: "0" is not a time limit longer than 0',
        'lbhook.toml: targets.nginx.requires: "nginx" is not a list',
        "lbhook.toml: targets.nginx.check[0]: 1 is not a string",
        'lbhook.toml: targets.a b: "a b" is not a name of letters, digits, - and _',
    )


def test_one_mistake_hides_no_other() -> None:
    """A key that is wrong does not keep others from being looked at together."""
    text = """
[targets.env]
enabled = "no"
like = "en"
[targets.nginx]
mode = "x"
reload = ["true"]
reload_unit = "nginx"
[targets.web]
like = "nginx"
owner = 5
"""
    assert problems(text) == (
        'lbhook.toml: targets.env.enabled: "no" is not true or false',
        'lbhook.toml: targets.env.like: "en" is not a shipped target; did you mean "env"?',
        'lbhook.toml: targets.nginx.mode: "x" is not a mode such as "0644"',
        'lbhook.toml: targets.nginx.reload_unit: "nginx" is not a unit such as "app.service"',
        "lbhook.toml: targets.nginx.reload_unit: reload is set too; one of them is enough",
        "lbhook.toml: targets.web.owner: 5 is not a string",
        "lbhook.toml: targets.web.path: /etc/nginx/lbhook/listen.conf is also the path of nginx",
    )


def test_a_variable_beside_vars() -> None:
    """The mistake that is made most: it says where the key belongs."""
    text = '[targets.nginx]\nports = [80]\n[targets.tls]\nlike = "nginx"\npath = "/x"\n'
    text += 'parameter = "ssl"\n'
    assert problems(text) == (
        "lbhook.toml: targets.nginx.ports: is a variable; write it as vars = { ports = ... }",
        'lbhook.toml: targets.tls.parameter: unknown key; did you mean "parameters"?',
    )


def test_hooks_and_metrics() -> None:
    """Off by default; a textfile is one that node_exporter reads, and no target's."""
    text = '[hooks]\nchanged = ["tell", "{summary}"]\ntimeout = "5s"\n'
    settings = config.parse(f'{text}[metrics]\ntextfile = "/a/b.prom"\n')
    assert settings.hooks == Hooks(changed=("tell", "{summary}"), timeout=5.0)
    assert settings.metrics == Metrics(textfile=PurePosixPath("/a/b.prom"))
    assert (config.parse("").hooks.changed, config.parse("").metrics.textfile) == ((), None)
    own = '[metrics]\ntextfile = "/a.prom"\n[targets.own]\ntemplate = "x"\npath = "/a.prom"\n'
    problem = "lbhook.toml: targets.own.path: /a.prom is also the path of metrics.textfile"
    assert problems(own) == (problem,)
    assert problems('[hooks]\nchanged = "tell"\n[metrics]\ntextfile = "/a.txt"\n') == (
        'lbhook.toml: hooks.changed: "tell" is not a command as a list of words, such as'
        ' ["nft", "-f", "{path}"]',
        "lbhook.toml: metrics.textfile: /a.txt does not end in .prom, and node_exporter would not"
        " read it",
    )


def test_what_azure_may_move_is_off() -> None:
    """Tags and scheduled events are obeyed only where the configuration says so."""
    settings = config.parse("")
    assert (settings.imds.obey_tag, settings.drain.scheduled_events) == (False, False)
    both = "[imds]\ninstance = true\nobey_tag = true\n[drain]\nscheduled_events = true\n"
    settings = config.parse(both)
    assert (settings.imds.obey_tag, settings.drain.scheduled_events) == (True, True)


def test_a_tag_needs_the_instance() -> None:
    """A key that could never do anything is an error."""
    assert problems("[imds]\nobey_tag = true\n") == (
        "lbhook.toml: imds.obey_tag: tags are in /metadata/instance: set imds.instance = true",
    )
    assert problems("[drain]\nscheduled_event = true\n") == (
        'lbhook.toml: drain.scheduled_event: unknown key; did you mean "scheduled_events"?',
    )
