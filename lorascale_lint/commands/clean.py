"""`clean`: remove what was kept to make runs faster."""

from __future__ import annotations

import click


@click.command("clean")
def command() -> int:
    """Remove the cache of facts and results.

    It lies in your cache folder, is shared by all projects, and is made again by the next run. What was not
    used for 30 days goes by itself.
    """
    from lorascale_lint.cache import UntrustedCache, cache_folder, clear
    from lorascale_lint.console import Console
    from lorascale_lint.errors import InputError
    from lorascale_lint.report.terminal import printable

    try:
        folder = cache_folder()
    except UntrustedCache as error:
        raise InputError(f"the cache is left alone: {error}") from error
    files = clear(folder) if folder is not None else 0
    Console().out(
        f"Removed {files} cached files from {printable(str(folder))}.\n" if files else "The cache is empty.\n"
    )
    return 0
