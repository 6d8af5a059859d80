"""`plan`: what `apply` would do."""

from typing import Any

import click

from ..cli import colour, factory, options
from ..cli.invocation import Invocation
from ..errors import together


@click.command(short_help="What apply would do, as a diff; changes nothing.")
@options.general
@options.source
@options.targets
@options.planned
@click.option("--reload", is_flag=True, help="As with `apply --reload`.")
@click.option("--exit-code", is_flag=True, help="End with 1 if there is something to do.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@options.pass_invocation
def plan(invocation: Invocation, /, as_json: bool, exit_code: bool, **options: Any) -> int:
    """Show what `apply` would do: a diff for each file, and reloads. Changes nothing.

    --with and --without show what a rule that is planned in Azure would change.

    \b
    Examples:
      lbhook plan
      lbhook plan --with tcp/8443:443 --without tcp/80:443
      lbhook plan --with tcp/25@52.1.2.3=10.1.0.5
      lbhook plan --exit-code --only nftables
    """
    from ..deployment import plan_report

    update = factory.update(invocation, **options)
    factory.say_held(invocation, update.context.host)
    result = update.plan()
    result = result._replace(warnings=(*result.warnings, *factory.lacking(update)))
    for warning in result.warnings:
        invocation.console.warn(warning)
    if as_json:
        invocation.json(plan_report.plan_json(result))
    else:
        invocation.console.out(colour.diff(plan_report.plan_text(result)))
    if result.failures:
        raise together(result.failures)
    return int(exit_code and result.to_do)
