"""`lorascale-lint map` as data: applications by class and function, products, reasons."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lorascale_lint.ledger.applications import Application, applications, shown_folds, shown_products
from lorascale_lint.ledger.entries import Fold
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.report.map_way import Ways

Record = dict[str, Any]


def map_record(ledger: Ledger, targets: Collection[str]) -> Record:
    """Everything that the ledger says of the files in ``targets``."""
    ways = Ways(ledger)
    found = [item for item in applications(ledger) if item.spot.file.filename in targets]
    classes: dict[tuple[str, str], Record] = {}
    functions: list[Record] = []
    for item in found:
        function = item.spot.function
        owner = (
            None
            if function is None
            else function.owner
            or (item.spot.cls if item.spot.cls and item.spot.cls.file is item.spot.file else None)
        )
        if owner is None:
            name = "<module>" if function is None else function.qualname
            functions.append(
                {"function": name, "filename": item.spot.file.filename, **_application(item, ways)}
            )
            continue
        key = (item.spot.file.filename, owner.qualname)
        record = classes.setdefault(
            key,
            {
                "class": owner.qualname,
                "filename": key[0],
                "row": owner.node.lineno,
                "applications": [],
                "state": [],
                "setters": [],
            },
        )
        record["applications"].append(
            {"method": function.qualname if function else "", "filename": key[0], **_application(item, ways)}
        )
    functions += [
        _fold(fold)
        for fold in shown_folds(ledger)
        if fold.spot.file.filename in targets and not _near(found, fold.spot.file.filename, fold.spot.row)
    ]
    return {
        "implementations": list(classes.values()),
        "functions": functions,
        "products": [
            {
                "filename": item.spot.file.filename,
                "row": item.spot.row,
                "end_row": item.spot.end_row,
                "kind": item.kind,
                "variant": item.variant,
                "scale": None if item.scale is None else item.scale.formula(),
                "base": item.base,
                "reasons": list(item.reasons),
            }
            for item in shown_products(ledger)
            if item.spot.file.filename in targets
        ],
    }


def _fold(fold: Fold) -> Record:
    return {
        "function": fold.spot.name,
        "filename": fold.spot.file.filename,
        "kind": "fold",
        "row": fold.spot.row,
        "end_row": fold.spot.end_row,
        "scale": fold.scale.formula(),
        "variant": "lora",
        "reasons": list(fold.scale.unknowns()),
        "branches": [],
    }


def _near(found: list[Application], filename: str, row: int) -> bool:
    return any(item.spot.file.filename == filename and item.spot.row == row for item in found)


def _application(item: Application, ways: Ways) -> Record:
    return {
        "kind": item.kind,
        "row": item.spot.row,
        "end_row": item.spot.end_row,
        "scale": item.formula,
        "variant": item.variant,
        "reasons": list(item.reasons),
        "branches": [
            {
                "scale": branch.scale.formula(),
                "when": [_condition(atom) for atom in branch.guards if _is_readable(atom[0])],
                "way": ways.of(item, branch),
            }
            for branch in item.branches
        ],
    }


def _is_readable(text: str) -> bool:
    """Is this a condition of the code, and not one that the engine wrote for itself?"""
    return not text.startswith("loop in row") and "{(" not in text


def _condition(atom: tuple[str, bool]) -> str:
    """A condition as people write it."""
    text, holds = atom
    text = text.partition("@")[0]
    return text if holds else f"not ({text})"
