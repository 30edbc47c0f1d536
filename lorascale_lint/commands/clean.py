"""`clean`: remove what was kept to make runs faster."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("clean")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
def command(paths: tuple[Path, ...]) -> int:
    """Remove the cache of facts and results.

    It lies in your cache folder, is shared by all projects, and is made again by the next run. What was not
    used for 30 days goes by itself.

    With PATHS also what a killed --fix left below them: files that it was writing get their old content
    again. The next --fix does that, too.
    """
    import os

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
    if paths:
        from lorascale_lint.fixing.write import clean_up

        for restored in clean_up(Path(folder) for path in paths for folder, _, _ in os.walk(path)):
            Console().out(f"{printable(str(restored))} was half written, and has its old content again.\n")
    return 0
