"""The command line: parse, call, print. How it ends is decided in program."""

from typing import TYPE_CHECKING, Any

import click

from . import __version__, options
from .console import coloured_diff, coloured_explanation, coloured_picture
from .errors import LbhookError, TerminatedError, UsageError, WriteError
from .options import Run

if TYPE_CHECKING:
    from pathlib import Path

    from .config import Settings
    from .facts import Facts
    from .model import Metadata
    from .report import Report
    from .targets import Target
    from .traffic import Picture

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 80}
_INTERRUPTED, _TERMINATED = 130, 143
pass_run = click.make_pass_decorator(Run, ensure=True)


class Commands(click.Group):
    """Commands in the order of this file; a misspelt one gets the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which somebody new would try them."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command; a usage error names the nearest."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            from .schema import suggestion

            known = [name for name, one in self.commands.items() if not one.hidden]
            ctx.fail(f"no such command: {args[0]}{suggestion(args[0], known)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings=_SETTINGS)
@click.version_option(__version__, message="lbhook %(version)s")
@options.general
def cli() -> None:
    """Turn what Azure's load balancer sends to this VM into its configuration.

    lbhook asks the Instance Metadata Service for the load balancer's rules, renders firewall
    rules, nginx listeners and env files, checks them with the real programs, installs them
    together and reloads what changed.

    \b
    Examples:
      lbhook show                    what Azure sends here
      lbhook plan                    what would change on this machine
      sudo lbhook apply              change it
      lbhook demo                    all of it, without Azure and without root
    """


@cli.command(short_help="What Azure says about this VM.")
@options.general
@options.source
@options.targets
@options.planned
@click.option("--json", "as_json", is_flag=True, help="Print the normalised model as JSON.")
@click.option("--here", is_flag=True, help="With --json: add what is seen on this machine.")
@click.option("--all", "everything", is_flag=True, help="Every rule, however many there are.")
@click.option("--html", metavar="FILE", help="Write the picture as a page to FILE (- is stdout).")
@pass_run
def show(
    run: Run, /, as_json: bool, here: bool, everything: bool, html: str | None, **wish: Any
) -> int:
    """Show what Azure sends to this VM, and where it leads here.

    Each inbound rule from its frontend to address and port, who listens there, and what lbhook's
    firewall has let in; ! marks what is wrong. Below --root it is only what Azure says.

    \b
    Examples:
      lbhook show
      sudo lbhook show --all
      sudo lbhook show --html lb.html
      lbhook show --json --metadata body.json
    """
    from . import facts, traffic, view
    from .model import ABSENT, Metadata

    if here and not as_json:
        raise click.UsageError("--here goes with --json")
    if html and as_json:
        raise click.UsageError("--html and --json can't both be meant")
    update = options.update(run, **wish)
    metadata = update.ask().answer.metadata
    if metadata is None:
        run.console.warn(f"no load balancer: {ABSENT}")
    metadata = metadata or Metadata()
    lb = facts.derive(metadata)
    if as_json and not here:
        run.console.out(_json(view.to_json(lb, metadata)))
        return 0
    picture = traffic.seen(lb, update.host) if update.host.live else traffic.told(lb)
    if html:
        _save(run, html, _page(lb, metadata, picture))
    elif as_json:
        value = {**view.to_json(lb, metadata), "here": view.here_json(picture)}
        run.console.out(_json(value))
    else:
        text = view.to_text(lb, metadata, picture, everything=everything)
        run.console.out(coloured_picture(text))
    return 0


@cli.command(short_help="What apply would do, as a diff; changes nothing.")
@options.general
@options.source
@options.targets
@options.planned
@click.option("--reload", is_flag=True, help="As with `apply --reload`.")
@click.option("--exit-code", is_flag=True, help="End with 1 if there is something to do.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@pass_run
def plan(run: Run, /, as_json: bool, exit_code: bool, **wish: Any) -> int:
    """Show what `apply` would do: a diff for each file, and reloads. Changes nothing.

    With rules that are only planned in Azure, what they would change here.

    \b
    Examples:
      lbhook plan
      lbhook plan --with tcp/8443:443 --without udp/53
      lbhook plan --with tcp/25@52.1.2.3=10.1.0.5
      lbhook plan --exit-code --only nftables
    """
    from . import report

    result = options.update(run, **wish).plan()
    for warning in result.warnings:
        run.console.warn(warning)
    text = report.plan_text(result)
    run.console.out(_json(report.plan_json(result)) if as_json else coloured_diff(text))
    return int(exit_code and result.to_do)


@cli.command(short_help="Bring this machine in step with Azure.")
@options.general
@options.source
@options.targets
@click.option("--reload", is_flag=True, help="Reload even if nothing differs.")
@click.option("--no-reload", is_flag=True, help="Install, and leave the reloads owed.")
@options.accept_empty
@click.option("--skip-refused", is_flag=True, help="Do not try again what was refused before.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@pass_run
def apply(run: Run, /, as_json: bool, no_reload: bool, **wish: Any) -> int:
    """Bring this machine in step with Azure: fetch, render, check, install, reload, verify.

    \b
    Examples:
      sudo lbhook apply
      sudo lbhook apply --wait 90s --json
      lbhook apply --metadata body.json --root /tmp/image
    """
    if wish["reload"] and no_reload:
        raise click.UsageError("--reload and --no-reload can't both be meant")
    try:
        result = options.update(run, load=not no_reload, **wish).apply()
    except LbhookError as error:
        result = options.unbegun(run, wish["root"], error)
    run.console.manager.status(result.summary())
    text = result.to_text() if result.changes or not result.problems else ""
    return _end(run, result, text, as_json=as_json)


@cli.command(short_help="Only ask, and keep the answer as the last good one.")
@options.general
@options.asking
@options.root
@click.option("--hand-over", is_flag=True, help="Leave the answer for root's `apply --cached`.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@pass_run
def fetch(run: Run, /, as_json: bool, **wish: Any) -> int:
    """Ask the metadata service, and keep a good answer for `apply --cached`.

    Needs no root where the state directory is writable, and changes nothing else. With
    --hand-over the answer is left in a runtime directory, where root's apply finds it.

    \b
    Examples:
      lbhook fetch --wait 90s
      lbhook fetch --json
    """
    from . import report

    result = options.update(run, **wish).fetch()
    text = report.fetched_text(result, handed_over=bool(wish["hand_over"]))
    run.console.manager.status(text)
    return _end(run, result, text, as_json=as_json)


@cli.command(short_help="What this boot lacks, before there is a network.")
@options.general
@options.root
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@pass_run
def restore(run: Run, /, as_json: bool, root: "Path | None") -> int:
    """Load the last good firewall, addresses and env file, before there is a network.

    The first thing that a boot does with lbhook, by a unit of its own. What belongs to services
    that start later is left alone; on a disk that was captured from another VM all of it rests.

    \b
    Example:
      sudo lbhook restore
    """
    from . import report

    result = options.restoring(run, root).carry_out()
    text = report.restored_text(result)
    run.console.manager.status(text.splitlines()[-1])
    return _end(run, result, "" if result.problems else text, as_json=as_json)


@cli.command(short_help="Put back what the last apply replaced, and reload.")
@options.general
@options.root
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@pass_run
def rollback(run: Run, /, as_json: bool, root: "Path | None") -> int:
    """Put back what the last apply replaced, and reload; twice in a row is a redo.

    The next apply, by hand or by the timer, brings the machine in step with Azure again.

    \b
    Example:
      sudo lbhook rollback
    """
    return _undone(run, options.undoing(run, root).rollback(), as_json=as_json)


@cli.command(short_help="Everything back to rest, and all state gone.")
@options.general
@options.root
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@pass_run
def clean(run: Run, /, as_json: bool, root: "Path | None") -> int:
    """Take back everything lbhook wrote: the last step before an image is captured.

    Each file goes back to what was there before lbhook, or to its resting form, or goes; a file
    that somebody edited since stays. Then all state is removed.

    \b
    Example:
      sudo lbhook clean
    """
    return _undone(run, options.undoing(run, root).clean(), as_json=as_json)


@cli.command(short_help="One rendered file on standard output.")
@options.general
@options.source
@options.targets
@options.planned
@click.argument("target", metavar="TARGET|FILE.j2")
@pass_run
def render(run: Run, /, target: str, **wish: Any) -> int:
    """Print one rendered file, of a target that is on or off, or of a template of your own.

    Nothing is checked, and this machine's addresses are not looked at.

    \b
    Examples:
      lbhook render nftables
      lbhook render motd.j2 --metadata body.json
      lbhook render motd.j2 --metadata dual-stack
    """
    from . import facts
    from . import render as rendering

    update = options.update(run, **wish)
    wanted, places = _wanted(target, update.settings)
    heard = update.ask()
    renderer, metadata = rendering.renderer(places), heard.answer.metadata
    if metadata:
        run.console.out(renderer.render(wanted, facts.derive(metadata), heard.vm))
    else:
        run.console.out(renderer.rest(wanted))
    return 0


@cli.command(short_help="Where each line of a rendered file comes from.")
@options.general
@options.source
@options.targets
@options.planned
@click.option("--json", "as_json", is_flag=True, help="Print lines and sources as JSON.")
@click.argument("target", metavar="TARGET|FILE.j2")
@pass_run
def explain(run: Run, /, target: str, as_json: bool, **wish: Any) -> int:
    """Print a rendered file, and beside each line the rule or setting that it came from.

    The rest is the template's own. ~ is before what is only likely, found by an address or
    value where a template works with variables of its own.

    \b
    Examples:
      lbhook explain nftables
      lbhook explain motd.j2 --metadata dual-stack
    """
    from . import facts, trace
    from . import render as rendering

    update = options.update(run, **wish)
    wanted, places = _wanted(target, update.settings)
    heard = update.ask()
    metadata = heard.answer.metadata
    lb = facts.derive(metadata) if metadata else None
    explanation = trace.explain(rendering.renderer(places), wanted, lb, heard.vm)
    if not explanation.whole:
        run.console.warn(f"{target}: works on its own output, which hides where that came from")
    if as_json:
        run.console.out(_json(trace.to_json(explanation)))
    else:
        run.console.out(coloured_explanation(trace.to_text(explanation)))
    return 0


@cli.command(short_help="Units, completion and configuration into place.")
@options.general
@options.root
@click.option("--now", is_flag=True, help="Start the units too.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@pass_run
def install(run: Run, /, as_json: bool, now: bool, root: "Path | None") -> int:
    """Do for pip and for the single file what a package does: units, a user for fetching, shell
    completion, configuration and resting forms into place, and the units enabled.

    The single file is copied to /usr/local/bin/lbhook. Nothing is started, unless --now is given.

    \b
    Examples:
      sudo lbhook install
      sudo python3 lbhook.pyz install --now
    """
    return _undone(run, options.installation(run, root).install(start=now), as_json=as_json)


@cli.command(short_help="Clean, then take away what install put into place.")
@options.general
@options.root
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@pass_run
def uninstall(run: Run, /, as_json: bool, root: "Path | None") -> int:
    """Stop the units, do what `clean` does, and take away what `install` put into place.

    A configuration that was edited stays. What pip installed is pip's to take away.

    \b
    Example:
      sudo lbhook uninstall
    """
    return _undone(run, options.installation(run, root).uninstall(), as_json=as_json)


@cli.command(hidden=True)
@options.general
@options.root
@click.option("--list", "listed", is_flag=True, help="Only list what is at rest, with digests.")
@pass_run
def rest(run: Run, /, listed: bool, root: "Path | None") -> int:
    """For packages: put down the resting forms that are missing; never touch what is there."""
    from . import resting

    undo = options.undoing(run, root)
    if listed:
        found = resting.at_rest(undo.host, undo.settings)
        run.console.out("".join(f"{digest}  {path}\n" for path, digest in found.items()))
    else:
        resting.lay(undo.host, undo.settings)
    return 0


@cli.command(short_help="A metadata service on loopback, with scripted faults.")
@options.general
@click.option(
    "--listen",
    default="127.0.0.1:8169",
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where to listen: loopback, or 169.254.169.254 in a namespace of your own.",
)
@click.option(
    "--body",
    default="documented",
    show_default=True,
    metavar="NAME|FILE",
    help="What to answer: a shipped body, or a file, read again at each request.",
)
@click.option("--playbook", metavar="NAME|FILE", help="A script of answers and faults.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="Requests a second before 429; 0 is no limit.",
)
@pass_run
def emulate(run: Run, /, listen: str, body: str, playbook: str | None, limit: int) -> int:
    """Serve the metadata service on loopback, with scripted faults if you like.

    \b
    Examples:
      lbhook emulate
      lbhook emulate --body dual-stack --listen 127.0.0.1:8080
      LBHOOK_ENDPOINT=http://127.0.0.1:8169 lbhook show
    """
    from .emulator import Emulator

    server = Emulator(
        body=body,
        playbook=playbook,
        listen=_listen_place(listen),
        limit=limit or None,
        on_request=None if run.verbosity < 0 else lambda request: run.console.out(f"{request}\n"),
    )
    try:
        with server as imds:
            run.console.note(f"Serving {imds.url}/metadata/loadbalancer; end with Ctrl-C.")
            imds.serve_forever()
    except TerminatedError:  # how a service manager ends it
        return _TERMINATED
    except KeyboardInterrupt:
        pass
    return _INTERRUPTED


@cli.command(short_help="The main job from end to end; no root, no Azure.")
@options.general
@pass_run
def demo(run: Run) -> int:
    """Show the main job from end to end, in a throw-away directory.

    Needs no root, no Azure and no network: the metadata service is lbhook's own emulator.

    \b
    Example:
      lbhook demo
    """
    from .demo import Demo

    Demo(console=run.console).play()
    return 0


def _end(run: Run, result: "Report", text: str, *, as_json: bool) -> int:
    """Say what a run came to, and end with its status."""
    if as_json:
        run.console.out(_json(result.to_json()))
    elif run.verbosity >= 0:
        run.console.out(text)
    run.console.problems(result.problems, result.hint)
    return result.status


def _undone(run: Run, result: "Report", *, as_json: bool) -> int:
    from . import report

    return _end(run, result, report.undone_text(result), as_json=as_json)


def _page(lb: "Facts", metadata: "Metadata", picture: "Picture") -> str:
    """The picture as HTML; a picture in a ticket must say where and when it was taken."""
    import platform
    import time

    from . import page

    taken = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return page.to_html(lb, metadata, picture, f"{platform.node()}, {taken}")


def _save(run: Run, name: str, text: str) -> None:
    """Write a file that the command line names; `-` is standard output."""
    from pathlib import Path

    if name == "-":
        run.console.out(text)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise WriteError(f"--html {name}: {error.strerror}") from None


def _json(value: object) -> str:
    from . import layout

    return layout.dump(value)


def _wanted(name: str, settings: "Settings") -> tuple["Target", "list[Path]"]:
    """A known target, on or off, or one made of a template file; and where templates are."""
    from pathlib import Path, PurePosixPath

    from .schema import suggestion
    from .targets import Target

    known = {one.name: one for one in settings.targets}
    places = [Path(str(place)) for place in settings.paths.templates]
    if name in known:
        return known[name], places
    if name.endswith(".j2"):
        file = Path(name)
        own = Target(name=file.stem, template=file.name, path=PurePosixPath("/dev/stdout"))
        return own, [file.parent, *places]
    near = suggestion(name, sorted(known))
    raise UsageError(f"{name}: no such target{near}", hint="or give a file that ends in .j2")


def _listen_place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {text}: not ADDRESS:PORT", hint="such as 127.0.0.1:8169")
    return host.strip("[]"), int(port)
