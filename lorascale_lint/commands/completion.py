"""`completion`: what a shell needs to complete commands, options, paths and rules."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from lorascale_lint.commands.options import examples

_VARIABLE = "_LORASCALE_LINT_COMPLETE"


@click.command(
    "completion",
    epilog=examples(
        'eval "$(lorascale-lint completion bash)"',
        'eval "$(lorascale-lint completion zsh)"',
        "lorascale-lint completion fish > ~/.config/fish/completions/lorascale-lint.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a SHELL."""
    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(ctx.find_root().command, {}, "lorascale-lint", _VARIABLE).source())
    return 0
