"""The Python interface: what the commands do, as functions that return objects and print nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorascale_lint.findings import FileFailure
from lorascale_lint.report.content import Report
from lorascale_lint.selection import Choice

if TYPE_CHECKING:
    from lorascale_lint.adapters.report import Inspection
    from lorascale_lint.config import Configs
    from lorascale_lint.sources.discovery import Sources

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Map:
    """The LoRA implementations of a project.

    ``record`` is what ``lorascale-lint map --output-format json`` prints; ``failures`` are files that could
    not be read.
    """

    record: dict[str, Any]
    failures: tuple[FileFailure, ...]


def check_paths(
    paths: AnyPath | Iterable[AnyPath] = ".",
    *,
    select: Sequence[str] = (),
    extend_select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    preview: bool = False,
    cache: bool = True,
) -> Report:
    """Check files and folders as ``lorascale-lint check`` does, with the settings of their projects.

    Nothing is written but the cache of results; the code is neither imported nor run. Raises `InputError` for
    a path that does not exist, a rule that is not known, and settings that can't be used.
    """
    from lorascale_lint.config import Configs
    from lorascale_lint.sources.discovery import discover

    configs = Configs()
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    sources = discover(map(Path, given), configs, notebooks=True)
    choice = Choice(tuple(select), tuple(extend_select), tuple(ignore), preview=preview)
    return _check(sources, configs, choice, None, cache=cache)


def check_source(
    source: str | bytes,
    filename: AnyPath | None = None,
    *,
    select: Sequence[str] = (),
    extend_select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    preview: bool = False,
    cache: bool = True,
) -> Report:
    """Check the text of one file that need not be on disk.

    ``filename`` says which file it stands for: its project is read for linking, and its settings hold.
    Without it the text is all there is, and is called ``-``. Raises as `check_paths` does.
    """
    from lorascale_lint.checking import STDIN
    from lorascale_lint.config import Configs
    from lorascale_lint.sources.discovery import Sources, discover_text, display_path

    configs = Configs()
    if filename is None:
        sources = Sources((STDIN,), ())
    else:
        sources = discover_text(display_path(Path(filename)), configs)
    choice = Choice(tuple(select), tuple(extend_select), tuple(ignore), preview=preview)
    data = source.encode() if isinstance(source, str) else source
    return _check(sources, configs, choice, data, cache=cache)


def _check(sources: Sources, configs: Configs, choice: Choice, text: bytes | None, *, cache: bool) -> Report:
    from lorascale_lint.cache import UntrustedCache, cache_folder
    from lorascale_lint.checking import Checker
    from lorascale_lint.notebooks import Notebooks
    from lorascale_lint.selection import Catalog, Selection

    folder = None
    with contextlib.suppress(UntrustedCache):  # slower, and the same result
        folder = cache_folder(sources.roots) if cache else None
    notebooks, sources = Notebooks.read(sources, text)
    selection = Selection(Catalog.load(), configs, choice)
    checker = Checker(sources, selection, folder, notebooks=notebooks)
    overlay = {} if text is None else dict.fromkeys(sources.targets, text) | notebooks.texts
    report, _ = notebooks.by_cell(checker.check(overlay), checker.reader(overlay))
    return report


def build_map(paths: AnyPath | Iterable[AnyPath] = ".") -> Map:
    """Where the code in ``paths`` applies each delta, and with which scale.

    Raises `InputError` for a path that does not exist and settings that can't be used.
    """
    from lorascale_lint.config import Configs
    from lorascale_lint.examination import examine_paths
    from lorascale_lint.knowledge.project import use
    from lorascale_lint.report.map_record import map_record
    from lorascale_lint.sources.discovery import discover

    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    configs = Configs()
    sources = discover(map(Path, given), configs)
    use(configs.words_of(sources.targets))
    ledger, unread = examine_paths(sources.targets, sources.context)
    failures = (*sources.failures, *(item for item in unread if Path(item.filename) in sources.targets))
    return Map(map_record(ledger, {str(path) for path in sources.targets}), failures)


def inspect_adapter(path: AnyPath) -> Inspection:
    """The trained scale of an adapter file, and what known loaders make of it.

    Only headers and alphas are read. Raises `InputError` for a file that can't be read or is no adapter.
    """
    from lorascale_lint.adapters.command import inspect_file

    return inspect_file(Path(path))
