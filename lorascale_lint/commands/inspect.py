"""`inspect`: the trained scale of adapter files, and what loaders make of it."""

from __future__ import annotations

from pathlib import Path

import click

from lorascale_lint.commands.options import examples


@click.command(
    "inspect",
    short_help="Show the trained scale of adapter files.",
    epilog=examples(
        "lorascale-lint inspect video.safetensors",
        "lorascale-lint inspect video.safetensors --loader comfyui",
        "lorascale-lint inspect adapter/ --rewrite-to kohya video.safetensors",
    ),
)
@click.argument("paths", nargs=-1, required=True)
@click.option("--loader", metavar="NAME", help="Ask about one loader, such as comfyui or fastvideo-0.2.1.")
@click.option(
    "--output-format",
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    show_default=True,
)
@click.option(
    "--rewrite-to",
    type=(str, click.Path(path_type=Path)),
    default=None,
    metavar="CONVENTION OUT",
    help="Write the adapter anew to OUT, in a convention such as kohya or peft that states its scale.",
)
@click.option("--fold", is_flag=True, help="With --rewrite-to: multiply the scale into B, and state 1.")
@click.option("--alpha", type=float, help="With --rewrite-to: the alpha of the training, if no file says it.")
def command(
    paths: tuple[str, ...],
    loader: str | None,
    output_format: str,
    rewrite_to: tuple[str, Path] | None,
    fold: bool,
    alpha: float | None,
) -> int:
    """Show which scale the adapters in PATHS were trained with, and what loaders make of it.

    PATHS are adapter files (.safetensors, .pt, .bin, .ckpt, .gguf) or folders of them, such as PEFT's or a
    Hugging Face cache. Only headers and alphas are read, nothing is unpickled or executed; needs no torch.
    With --rewrite-to one adapter is written anew for a loader that would lose its scale; the new file is
    compared with the old one before it gets its name, and nothing is overwritten.

    Exit codes: 0 everything was read, 2 a file could not be read or is of no known layout. With --loader
    also: 1 it applies a wrong scale or nothing, or refuses the file, 3 what it does is not known.
    """
    from lorascale_lint.adapters.command import run_inspect, run_rewrite

    if rewrite_to is not None:
        return run_rewrite(paths, *rewrite_to, fold=fold, alpha=alpha)
    if fold or alpha is not None:
        raise click.UsageError("--fold and --alpha say how to rewrite; they need --rewrite-to.")
    return run_inspect(paths, loader, output_format)
