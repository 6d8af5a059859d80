"""`render` and `explain`: one rendered file, and where its lines come from."""

from typing import TYPE_CHECKING, Any

import click

from ..cli import colour, factory, options
from ..cli.invocation import Invocation
from ..errors import UsageError
from ..installation import completion

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..config.settings import Settings
    from ..config.targets import Target
    from ..imds.answer import Fetched
    from ..rendering.render import Renderer


@click.command(short_help="One rendered file on standard output.")
@options.general
@options.source
@options.targets
@options.planned
@click.argument("target", metavar="TARGET|FILE.j2", shell_complete=completion.targets)
@options.pass_invocation
def render(invocation: Invocation, /, target: str, **options: Any) -> int:
    """Print one rendered file, of a target that is on or off, or of a template of your own.

    Nothing is checked, and this machine's addresses are not looked at.

    \b
    Examples:
      lbhook render nftables
      lbhook render motd.j2 --metadata body.json
      lbhook render motd.j2 --metadata dual-stack
    """
    renderer, wanted, fetched = _rendering(invocation, target, options)
    lb = fetched.answer.lb
    invocation.console.out(renderer.render(wanted, lb, fetched.vm) if lb else renderer.rest(wanted))
    return 0


@click.command(short_help="Where each line of a rendered file comes from.")
@options.general
@options.source
@options.targets
@options.planned
@click.option("--json", "as_json", is_flag=True, help="Print lines and sources as JSON.")
@click.argument("target", metavar="TARGET|FILE.j2", shell_complete=completion.targets)
@options.pass_invocation
def explain(invocation: Invocation, /, target: str, as_json: bool, **options: Any) -> int:
    """Print a rendered file, and beside each line the rule or setting that it came from.

    The rest is the template's own. ~ is before what is only likely, found by an address or
    value where a template works with variables of its own.

    \b
    Examples:
      lbhook explain nftables
      lbhook explain motd.j2 --metadata dual-stack
    """
    from ..rendering import annotation

    renderer, wanted, fetched = _rendering(invocation, target, options)
    explanation = annotation.explain(renderer, wanted, fetched.answer.lb, fetched.vm)
    if not explanation.whole:
        invocation.console.warn(
            f"{target}: processes its own output, so the sources of its lines are hidden"
        )
    if as_json:
        invocation.json(annotation.to_json(explanation))
    else:
        invocation.console.out(colour.explanation(annotation.to_text(explanation)))
    return 0


def _rendering(
    invocation: Invocation, target: str, options: "Mapping[str, Any]"
) -> tuple["Renderer", "Target", "Fetched"]:
    """What renders a target, the target, and what it is rendered from."""
    from ..rendering.render import renderer

    update = factory.update(invocation, **options)
    factory.say_held(invocation, update.context.host)
    wanted, places = _wanted(target, update.context.settings)
    return renderer(places), wanted, update.ask()


def _wanted(name: str, settings: "Settings") -> tuple["Target", "list[Path]"]:
    """A known target, on or off, or one made of a template file; and where templates are."""
    from pathlib import Path, PurePosixPath

    from ..config.snippets import with_snippets
    from ..config.targets import Target
    from ..layout import suggestion

    known = {one.name: one for one in settings.targets}
    places = [Path(str(place)) for place in settings.paths.templates]
    if name in known:
        return with_snippets(known[name], Path(str(settings.paths.snippets))), places
    if name.endswith(".j2"):
        file = Path(name)
        own = Target(name=file.stem, template=file.name, path=PurePosixPath("/dev/stdout"))
        return own, [file.parent, *places]
    near = suggestion(name, sorted(known))
    raise UsageError(f"{name}: no such target{near}", hint="or give a file that ends in .j2")
