"""``headcount personhood``: what the levels of personhood are worth."""

from __future__ import annotations

import json

import click

from headcount_issuer import cost as costs


@click.group()
def personhood() -> None:
    """Say what it proves to be a person here, and what a fake costs."""


@personhood.command()
@click.argument("level", required=False)
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def cost(level: str | None, as_json: bool) -> None:
    """Print for each level what it proves, what one more fake costs, and whom it excludes.

    LEVEL is one as in manifests, such as email+device; all are printed without it.
    """
    found = costs.LEVELS if level is None else costs.find(level)
    if as_json:
        click.echo(json.dumps(costs.to_json(found), ensure_ascii=False, indent=2))
        return
    for line in costs.lines(found):
        click.echo(line)
    together = None if level is None else costs.combined(level)
    if together is not None:
        click.echo(together)
