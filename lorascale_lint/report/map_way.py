"""The way from key to weight: what happens to the factors of one application, step by step."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from lorascale_lint.knowledge.roles import A, B
from lorascale_lint.ledger.applications import Application, Branch, shown_products
from lorascale_lint.ledger.fates import fates
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.tensors import tensor
from lorascale_lint.provenance.values import Multiplied

Record = dict[str, Any]


class Ways:
    """Tells the ways of a ledger's applications."""

    def __init__(self, ledger: Ledger) -> None:
        self._looked_up: dict[ast.AST, list[Record]] = {}
        for fate in fates(ledger):
            keys = [_record("key", spot, text) for _, spot, text in fate.looked_up]
            for apply in fate.applies:
                self._looked_up.setdefault(apply.spot.node, keys)
        self._products: dict[int, list[Spot]] = {}
        for product in shown_products(ledger):
            if product.kind in ("delta", "half"):
                self._products.setdefault(product.spot.row, []).append(product.spot)

    def of(self, application: Application, branch: Branch) -> list[Record]:
        """Steps in order: ``key``s of a file or ``factors``, ``product``s, ``number``s, and what they meet.

        Each is a dictionary with ``what``, ``filename`` and ``row`` (both None for factors), ``text`` (the
        key, the expression of the number ...), ``code`` (the row) and, for numbers, ``scale``.
        """
        early = [step for step in branch.steps if _is_of_factor(step)]
        late = [step for step in branch.steps if not _is_of_factor(step)]
        return [
            *self._source(application),
            *map(_number, early),
            *self._multiplied(application),
            *map(_number, late),
            _record(application.kind, application.spot, _source_of(application.spot)),
        ]

    def _source(self, application: Application) -> list[Record]:
        if keys := self._looked_up.get(application.spot.node):
            return keys
        name = application.factors
        known = name if name.replace(".", "").isidentifier() else ""
        return [{"what": "factors", "filename": None, "row": None, "text": known, "code": ""}]

    def _multiplied(self, application: Application) -> Iterator[Record]:
        for row in dict.fromkeys(application.rows):
            spots = self._products.get(row, [])
            near = [spot for spot in spots if spot.file is application.spot.file] or spots
            if len({spot.file.filename for spot in near}) == 1:
                yield _record("product", *max(((spot, _source_of(spot)) for spot in near), key=_length))


def _length(found: tuple[Spot, str]) -> int:
    """B(A(x)) are two products in one row, and the longer one holds the other."""
    return len(found[1])


def _is_of_factor(step: Multiplied) -> bool:
    """Is the number multiplied onto a factor, before the product is made?"""
    found = tensor(step.before)
    return found is not None and found.kind in (A, B)


def _number(step: Multiplied) -> Record:
    text = ast.unparse(step.number) if step.number is not None else step.scale.formula()
    return _record("number", step.spot, text) | {"scale": step.scale.formula()}


def _record(what: str, spot: Spot, text: str) -> Record:
    lines = spot.file.lines
    code = lines[spot.row - 1].strip() if 0 < spot.row <= len(lines) else ""
    return {"what": what, "filename": spot.file.filename, "row": spot.row, "text": text, "code": code}


def _source_of(spot: Spot) -> str:
    return ast.unparse(spot.node) if isinstance(spot.node, ast.expr | ast.stmt) else ""


def titles(step: Mapping[str, Any]) -> tuple[str, str]:
    """What a step is called, and what stands under it."""
    match step["what"]:
        case "key":
            return "looked up in the file", step["text"]
        case "factors":
            return "factors", step["text"]
        case "product":
            return "product", step["text"]
        case "number":
            return f"× {step['scale']}", step["text"]
        case kind:
            return {"forward": "meets the output", "merge": "merged", "unmerge": "taken out"}.get(
                kind, kind
            ), (step["code"])
