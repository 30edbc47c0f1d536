"""The files with LoRA code around those that are linted: what they import, and who imports them."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePath

from lorascale_lint.bounds import COMMIT_FILES, COMPANION_BYTES, IMPORT_REACH, IMPORTER_LIMIT
from lorascale_lint.knowledge.roles import may_hold_lora_code, speaks_of_lora
from lorascale_lint.linking.definitions import FileInfo
from lorascale_lint.linking.program import Program
from lorascale_lint.sources.texts import Texts


def companions(program: Program, texts: Texts, targets: Collection[str]) -> list[str]:
    """Files without which less is known of ``targets``: a layer of its loader, a loader of its layer."""
    found: set[str] = set()
    if len(targets) > COMMIT_FILES:
        return []
    for target in targets:
        room = COMPANION_BYTES
        for name in _around(program, texts, target):
            if name not in targets and len(texts.sources[name]) <= room:
                room -= len(texts.sources[name])
                found.add(name)
    return sorted(found)


def _around(program: Program, texts: Texts, target: str) -> list[str]:
    """The files around one, the nearest first: imported, importing, imported by what is imported."""
    found: dict[str, None] = {}
    edge = [target]
    for step in range(IMPORT_REACH):
        files = [file for name in edge if (file := program.file(name)) is not None]
        names = {name for file in files for name in program.imported(file)} - {target, *found}
        edge = sorted(name for name in names if _speaks(texts, name))
        found.update(dict.fromkeys(edge))
        if step == 0:
            found.update(dict.fromkeys(_importers(program, texts, target)))
    return list(found)


def _importers(program: Program, texts: Texts, target: str) -> list[str]:
    """Files that import ``target`` at their top level, the nearest first."""
    path = PurePath(target)
    word = path.parent.name if path.stem == "__init__" else path.stem
    if not word.isascii():
        return []
    imports = re.compile(
        rb"^[^#\"'\n]*\b%s\b" % re.escape(word).encode(), re.MULTILINE
    )  # a comment imports nothing
    near = [
        name
        for name in texts
        if name != target
        and texts.mentions(name, word)
        and imports.search(texts.sources[name])
        and _speaks(texts, name)
    ]
    near.sort(key=lambda name: (-_shared(name, target), name))
    found: list[str] = []
    for name in near:
        file: FileInfo | None = program.file(name)
        if file is not None and target in program.imported(file):
            found.append(name)
            if len(found) == IMPORTER_LIMIT:
                break
    return found


def _speaks(texts: Texts, name: str) -> bool:
    return may_hold_lora_code(texts.sources[name]) and speaks_of_lora(texts[name])


def _shared(one: str, other: str) -> int:
    """Folders that two files have in common."""
    pairs = zip(PurePath(one).parts, PurePath(other).parts, strict=False)
    return next((index for index, (left, right) in enumerate(pairs) if left != right), 0)
