"""The files with LoRA code around those that are linted: what they import, and who imports them."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from pathlib import PurePath

from lorascale_lint.bounds import COMMIT_FILES, COMPANION_BYTES, IMPORT_REACH, IMPORTER_LIMIT
from lorascale_lint.knowledge.roles import may_hold_lora_code
from lorascale_lint.knowledge.speech import moves_tensors, speaks_of_lora, speaks_of_scales
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
    edge: dict[str, set[str] | None] = {target: None}
    for step in range(IMPORT_REACH):
        taken: dict[str, set[str] | None] = {}
        for name, wanted in edge.items():
            file = program.file(name)
            for other in [] if file is None else program.imported(file, wanted):
                if other != target and other not in found and _speaks(texts, other):
                    taken[other] = _joined(taken.get(other, set()), _wanted(program, file, other))
        edge = {name: taken[name] for name in sorted(taken)}
        found.update(dict.fromkeys(edge))
        if step == 0:
            found.update(dict.fromkeys(_importers(program, texts, target)))
    return list(found)


def _wanted(program: Program, file: FileInfo | None, other: str) -> set[str] | None:
    """What a file takes from a package, the rest of which is no concern of it; None for all of a module."""
    package = program.file(other)
    if file is None or package is None or not package.is_package:
        return None
    taken = program.taken(file, package)
    return None if taken is None else set(taken)


def _joined(one: set[str] | None, two: set[str] | None) -> set[str] | None:
    return None if one is None or two is None else one | two


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
        other = program.file(target)
        if file is None or other is None or target not in program.imported(file):
            continue
        taken = program.taken(file, other)
        if taken is None or _leads_to_lora(other, taken):
            found.append(name)
            if len(found) == IMPORTER_LIMIT:
                break
    return found


def _leads_to_lora(file: FileInfo, names: Collection[str]) -> bool:
    """Is there a word of LoRA code in what names of a file's top level mean, or in what they use of it?

    Who takes only a schedule of time steps from a pipeline says nothing of its adapters.
    """
    pending, seen = list(names), set(names)
    while pending:
        name = pending.pop()
        definition = file.functions.get(name) or file.classes.get(name)
        nodes = file.bindings.get(name, []) if definition is None else [definition.node]
        if not nodes:  # imported from elsewhere, or made on the way
            return True
        for node in nodes:
            text = file.text(node)
            if speaks_of_lora(text) or speaks_of_scales(text) or moves_tensors(text):
                return True
            used = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
            used &= {*file.functions, *file.classes, *file.bindings}
            pending += used - seen
            seen |= used
    return False


def _speaks(texts: Texts, name: str) -> bool:
    return may_hold_lora_code(texts.sources[name]) and speaks_of_lora(texts[name])


def _shared(one: str, other: str) -> int:
    """Folders that two files have in common."""
    pairs = zip(PurePath(one).parts, PurePath(other).parts, strict=False)
    return next((index for index, (left, right) in enumerate(pairs) if left != right), 0)
