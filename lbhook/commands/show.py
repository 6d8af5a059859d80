"""`show`: what Azure says about this VM."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..cli import colour, factory, options
from ..cli.invocation import Invocation
from ..errors import NoAnswerError, WriteError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..imds.answer import Answer
    from ..metadata.facts import Facts
    from ..metadata.model import Metadata
    from ..runs.update import Update
    from ..traffic.paths import Picture


@click.command(short_help="What Azure says about this VM.")
@options.general
@options.source
@options.targets
@options.planned
@click.option("--json", "as_json", is_flag=True, help="Print the normalised model as JSON.")
@click.option("--here", is_flag=True, help="With --json: add what is seen on this machine.")
@click.option("--all", "everything", is_flag=True, help="Show every rule.")
@click.option(
    "--html",
    type=click.Path(),
    metavar="FILE",
    help="Write the picture as a page to FILE (- is stdout).",
)
@options.pass_invocation
def show(
    invocation: Invocation,
    /,
    as_json: bool,
    here: bool,
    everything: bool,
    html: str | None,
    **options: Any,
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

    from ..deployment.report import guarded_json
    from ..metadata import facts
    from ..metadata.model import ABSENT, Metadata
    from ..programs import nftables
    from ..traffic import diagram, model_json, paths

    if here and not as_json:
        raise click.UsageError("--here goes with --json")
    if html and as_json:
        raise click.UsageError("--html and --json can't both be meant")
    update = factory.update(invocation, **options)
    factory.say_held(invocation, update.context.host)
    answer, status = _answer(invocation, update)
    metadata = answer.whole
    if answer.metadata is None:
        invocation.console.warn(f"no load balancer: {ABSENT}")
    metadata = metadata or Metadata()
    lb = facts.derive(metadata)
    metadata = replace(metadata, warnings=(*metadata.warnings, *_unusual(update)))
    value = {**model_json.model(lb, metadata), **guarded_json(answer.guarded)}
    if as_json and not here:
        invocation.json(value)
        return status
    host, targets = update.context.host, update.context.settings.active()
    restrict = nftables.restrictions(targets)
    picture = (
        paths.seen(lb, host, restrict=restrict) if host.live else paths.rules_only(lb, restrict)
    )
    also_open = nftables.also_open(targets)
    picture = replace(picture, also_open=also_open)
    if html:
        _save(invocation, html, _page(lb, metadata, picture))
    elif as_json:
        invocation.json({**value, "here": model_json.here(picture)})
    else:
        text = diagram.to_text(lb, metadata, picture, everything=everything)
        invocation.console.out(colour.picture(text))
    return status


def _answer(invocation: Invocation, update: "Update") -> "tuple[Answer, int]":
    """The answer in force, and 0; while IMDS is silent the last good one, and 75."""
    from ..imds.answer import describe_age

    try:
        return update.ask().answer, 0
    except NoAnswerError as error:
        known = update.remembered()
        if known is None:
            raise
        age = describe_age(known.answer.age or 0.0)
        said = "; ".join(error.problems)
        invocation.console.warn(f"{said}. This is the last good answer, {age} old")
        return known.answer, error.status


def _unusual(update: "Update") -> "Iterator[str]":
    """Whether this VM is drained, and whether lbhook's firewall is not in force, whatever else is
    drawn."""
    from ..levers.drain import Drain
    from ..planning.verification import gone

    drained = Drain(update.context).known() if update.context.host.live else None
    if drained:
        yield f"{drained.text}; {drained.remedy}"
    for target in update.context.settings.active():
        said = gone(update.context.host, target)
        if said:
            yield f"{target.name}: {said}; `sudo lbhook apply` loads it again"


def _page(lb: "Facts", metadata: "Metadata", picture: "Picture") -> str:
    """The picture as HTML; a picture in a ticket must say where and when it was taken."""
    import platform
    import time

    from ..layout import minute
    from ..traffic import html

    taken = minute(time.time())
    return html.to_html(lb, metadata, picture, f"{platform.node()}, {taken}")


def _save(invocation: Invocation, name: str, text: str) -> None:
    """Write a file that the command line names; `-` is standard output."""
    from pathlib import Path

    if name == "-":
        invocation.console.out(text)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise WriteError(f"--html {name}: {error.strerror}") from None
