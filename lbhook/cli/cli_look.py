"""Commands that look, and change nothing."""

from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError, WriteError
from ..installation import completion
from . import assembly, options
from .console import coloured_diff, coloured_explanation, coloured_picture
from .run import Run, pass_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..config.config import Settings
    from ..config.targets import Target
    from ..imds.inquiry import Heard
    from ..metadata.facts import Facts
    from ..metadata.model import Metadata
    from ..rendering.render import Renderer
    from ..traffic.traffic import Picture


@click.command(short_help="What Azure says about this VM.")
@options.general
@options.source
@options.targets
@options.planned
@click.option("--json", "as_json", is_flag=True, help="Print the normalised model as JSON.")
@click.option("--here", is_flag=True, help="With --json: add what is seen on this machine.")
@click.option("--all", "everything", is_flag=True, help="Every rule, however many there are.")
@click.option(
    "--html",
    type=click.Path(),
    metavar="FILE",
    help="Write the picture as a page to FILE (- is stdout).",
)
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
    from ..metadata import facts
    from ..metadata.model import ABSENT, Metadata
    from ..traffic import traffic, view

    if here and not as_json:
        raise click.UsageError("--here goes with --json")
    if html and as_json:
        raise click.UsageError("--html and --json can't both be meant")
    update = assembly.update(run, **wish)
    metadata = update.ask().answer.metadata
    if metadata is None:
        run.console.warn(f"no load balancer: {ABSENT}")
    metadata = metadata or Metadata()
    lb = facts.derive(metadata)
    if as_json and not here:
        run.json(view.to_json(lb, metadata))
        return 0
    picture = traffic.seen(lb, update.host) if update.host.live else traffic.told(lb)
    if html:
        _save(run, html, _page(lb, metadata, picture))
    elif as_json:
        value = {**view.to_json(lb, metadata), "here": view.here_json(picture)}
        run.json(value)
    else:
        text = view.to_text(lb, metadata, picture, everything=everything)
        run.console.out(coloured_picture(text))
    return 0


@click.command(short_help="What apply would do, as a diff; changes nothing.")
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
      lbhook plan --with tcp/8443:443 --without tcp/80:443
      lbhook plan --with tcp/25@52.1.2.3=10.1.0.5
      lbhook plan --exit-code --only nftables
    """
    from ..deployment import report

    result = assembly.update(run, **wish).plan()
    for warning in result.warnings:
        run.console.warn(warning)
    if as_json:
        run.json(report.plan_json(result))
    else:
        run.console.out(coloured_diff(report.plan_text(result)))
    return int(exit_code and result.to_do)


@click.command(short_help="What is wrong between Azure and the listening socket.")
@options.general
@options.source
@options.targets
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@pass_run
def doctor(run: Run, /, as_json: bool, **wish: Any) -> int:
    """Walk the way from Azure to the listening socket; say what is wrong, and what to do.

    ! is wrong, ? could not be looked at and, with -v, - is good to know. Changes nothing, asks
    for 5 seconds unless --wait says otherwise, and goes on with the last good answer. Ends with
    1 if something is wrong.

    \b
    Examples:
      sudo lbhook doctor
      sudo lbhook doctor --cached -v
      lbhook doctor --json --metadata body.json
    """
    from ..doctor import doctor as doctors

    if wish["wait"] is None:
        wish["wait"] = doctors.PATIENCE
    diagnosis = doctors.examine(assembly.update(run, **wish))
    if as_json:
        run.json(diagnosis.to_json())
    elif run.verbosity >= 0:
        run.console.out(coloured_picture(diagnosis.to_text(notes=run.verbosity > 0)))
    return int(diagnosis.wrong > 0)


@click.command(short_help="One rendered file on standard output.")
@options.general
@options.source
@options.targets
@options.planned
@click.argument("target", metavar="TARGET|FILE.j2", shell_complete=completion.targets)
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
    renderer, wanted, heard = _rendering(run, target, wish)
    lb = heard.answer.lb
    run.console.out(renderer.render(wanted, lb, heard.vm) if lb else renderer.rest(wanted))
    return 0


@click.command(short_help="Where each line of a rendered file comes from.")
@options.general
@options.source
@options.targets
@options.planned
@click.option("--json", "as_json", is_flag=True, help="Print lines and sources as JSON.")
@click.argument("target", metavar="TARGET|FILE.j2", shell_complete=completion.targets)
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
    from ..rendering import trace

    renderer, wanted, heard = _rendering(run, target, wish)
    explanation = trace.explain(renderer, wanted, heard.answer.lb, heard.vm)
    if not explanation.whole:
        run.console.warn(f"{target}: works on its own output, which hides where that came from")
    if as_json:
        run.json(trace.to_json(explanation))
    else:
        run.console.out(coloured_explanation(trace.to_text(explanation)))
    return 0


def _page(lb: "Facts", metadata: "Metadata", picture: "Picture") -> str:
    """The picture as HTML; a picture in a ticket must say where and when it was taken."""
    import platform
    import time

    from ..traffic import page

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


def _rendering(
    run: Run, target: str, wish: "Mapping[str, Any]"
) -> tuple["Renderer", "Target", "Heard"]:
    """What renders a target, the target, and what it is rendered from."""
    from ..rendering.render import renderer

    update = assembly.update(run, **wish)
    wanted, places = _wanted(target, update.settings)
    return renderer(places), wanted, update.ask()


def _wanted(name: str, settings: "Settings") -> tuple["Target", "list[Path]"]:
    """A known target, on or off, or one made of a template file; and where templates are."""
    from pathlib import Path, PurePosixPath

    from ..config.schema import suggestion
    from ..config.targets import Target

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
