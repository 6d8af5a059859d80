"""Completion: the scripts that are installed, and what real shells make of a half command line."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lbhook.config.shipped import SHIPPED
from lbhook.installation import completion
from lbhook.resources import BODIES

from ..program import ENVIRONMENT, REPO

# What makes ^X put into the line whatever an interactive shell would offer, and run it; the prompt
# tells that keys are read.
_SETUP = {
    "bash": """
. /usr/share/bash-completion/bash_completion
bind '"\\C-x": "\\e*\\C-j"'
PS1='READY '
""",
    "zsh": """
fpath=($SHARE/zsh/site-functions $fpath)
autoload -Uz compinit; compinit -u -D
zstyle ':completion:*' completer _all_matches _complete
zstyle ':completion:*' insert true
zle -C all complete-word _generic
run() { zle all; zle accept-line }
zle -N run
bindkey '^X' run
PS1='READY '
""",
}
_INTERACTIVE = {"bash": ["bash", "--norc", "-i"], "zsh": ["zsh", "-f", "-i"]}
_TIME = 30.0
Complete = Callable[..., set[str]]


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """The scripts where each shell looks for them, and `lbhook` on PATH; called as a command, it
    only says its words."""
    for shell, place in completion.SHELLS.items():
        file = tmp_path / "share" / place
        file.parent.mkdir(parents=True)
        file.write_text(completion.script(shell))
    program = tmp_path / "lbhook"
    program.write_text(
        f"""#!/bin/sh
[ "$_LBHOOK_COMPLETE" ] && exec {sys.executable} -m lbhook "$@"
echo "WORDS $* END"
"""
    )
    program.chmod(0o755)
    (tmp_path / "own.j2").touch()
    (tmp_path / "lbhook.toml").write_text("[targets.nginx]\n[targets.env]\nenabled = false\n")
    share = str(tmp_path / "share")
    return {
        **ENVIRONMENT,
        "PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}",
        "HOME": str(tmp_path),
        "SHARE": share,
        "XDG_DATA_HOME": share,
        "XDG_DATA_DIRS": f"{share}:/usr/share",
        "TERM": "dumb",
    }


def _until(terminal: int, pattern: str) -> re.Match[str]:
    """What a shell has written, when it is this."""
    said, end = "", time.monotonic() + _TIME
    while not (found := re.search(pattern, said)):
        assert select.select([terminal], [], [], max(0, end - time.monotonic()))[0], said
        said += os.read(terminal, 4096).decode(errors="replace")
    return found


def _typed(shell: str, line: str, env: Mapping[str, str]) -> set[str]:
    """The last word of a line, completed by an interactive shell in every way that there is."""
    ours, theirs = pty.openpty()
    script = Path(env["HOME"]) / "setup"
    script.write_text(_SETUP[shell])
    with subprocess.Popen(
        _INTERACTIVE[shell],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env,
        cwd=env["HOME"],
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            os.write(ours, f". {script}\n".encode())
            _until(ours, "READY ")
            os.write(ours, f"{line}\x18".encode())
            words = _until(ours, r"WORDS (.*) END")[1].split()
        finally:
            process.kill()
            os.close(ours)
    return set(words[len(line.split()) - (not line.endswith(" ")) - 1 :])


def _asked(line: str, env: Mapping[str, str]) -> set[str]:
    """The completions that fish offers for a line."""
    argv = ["fish", "--private", "-c", "complete -C $argv[1]", line]
    done = subprocess.run(
        argv, env=env, cwd=env["HOME"], capture_output=True, text=True, check=True, timeout=_TIME
    )
    return {one.split("\t")[0] for one in done.stdout.splitlines()}


@pytest.fixture(
    params=[
        pytest.param("bash", marks=pytest.mark.needs("bash", "bash-completion")),
        pytest.param("zsh", marks=pytest.mark.needs("zsh")),
        pytest.param("fish", marks=pytest.mark.needs("fish")),
    ]
)
def complete(request: pytest.FixtureRequest, environment: Mapping[str, str]) -> Complete:
    """Completes a line in a shell."""
    shell = request.param
    return lambda line: (
        _asked(line, environment) if shell == "fish" else _typed(shell, line, environment)
    )


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("lbhook unin", {"uninstall"}),
        ("lbhook re", {"render", "restore", "resume"}),
        ("lbhook apply --re", {"--require-lb", "--reload"}),
        ("lbhook render ng", {"nginx", "nginx-stream"}),
        ("lbhook explain ", set(SHIPPED)),
        ("lbhook render ow", {"own.j2"}),
        ("lbhook -c lbhook.toml plan --only ", {"nginx"}),
        ("lbhook show --metadata d", {one for one in BODIES if one[0] == "d"}),
        ("lbhook emulate --playbook up", {"update"}),
        ("lbhook show -c lbhook.to", {"lbhook.toml"}),
    ],
)
def test_shells_complete(complete: Complete, line: str, wanted: set[str]) -> None:
    """Commands, options, targets, bodies and files; what is hidden or off is not offered."""
    assert complete(line) == wanted


def test_packages_have_the_same(tmp_path: Path) -> None:
    """A package and `lbhook install` bring the same scripts, to where the shells look."""
    env = {**ENVIRONMENT, "PYTHONPATH": str(REPO)}
    argv = [sys.executable, "packaging/stage.py", str(tmp_path), "units", "zsh/site-functions"]
    subprocess.run(argv, env=env, cwd=REPO, check=True, capture_output=True)
    for shell, place in completion.SHELLS.items():
        staged = (tmp_path / "usr/share" / place).read_text()
        assert staged.rstrip() == completion.script(shell).rstrip()
