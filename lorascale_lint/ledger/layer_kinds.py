"""Calls that make adapters: for which kind of layer their rank and their alpha are meant."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from textwrap import dedent

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.roles import ALPHA, RANK, layers_of
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.surroundings import around
from lorascale_lint.provenance.guards import Guards, contradict
from lorascale_lint.provenance.marks import ENTRY
from lorascale_lint.provenance.values import Place, Value, options

_NAME = re.compile(r"\w+")


@immutable(frozen=True, slots=True, eq=False)
class Given:
    """A rank or an alpha that a call is given under a condition, by the name where it came from."""

    role: str
    kind: str
    name: str
    spot: Spot
    guards: Guards


@immutable(frozen=True, slots=True, eq=False)
class Mixed:
    """A call gets the rank of one kind of layer and an alpha of none, where there is ``own`` for the kind."""

    use: Use
    rank: Given
    alpha: Given
    own: str


def mixed_kinds(ledger: Ledger) -> Iterator[Mixed]:
    """Each such call once, in the words of the code nearest to it."""
    seen: set[ast.AST] = set()
    for use in sorted(ledger.uses, key=lambda use: len(use.spot.chain)):
        if use.spot.node in seen or use.spot.file.is_test:
            continue
        given = list(_given(use))
        alphas = [item for item in given if item.role == ALPHA]
        kinds = {item.kind for item in given if item.role == RANK} - {""}
        for rank in (item for item in given if item.role == RANK and item.kind):
            fitting = [item for item in alphas if not contradict(item.guards, rank.guards)]
            own = _alpha_of(rank.kind, use.spot)
            if own and fitting and kinds == {rank.kind} and not any(a.kind for a in fitting):
                seen.add(use.spot.node)
                yield Mixed(use, rank, fitting[0], own)
                break


def _given(use: Use) -> Iterator[Given]:
    for index, (parameter, value) in enumerate(use.given.items()):
        for option in options(value):
            name = _name(option.value)
            meant = layers_of(name)
            if meant is not None:
                spot = replace(use.spot, node=_argument(use.spot.node, index, parameter))
                yield Given(*meant, name, spot, option.guards)


def _argument(node: ast.AST, index: int, parameter: str) -> ast.AST:
    if not isinstance(node, ast.Call):
        return node
    keyword = next((item.value for item in node.keywords if item.arg == parameter), None)
    plain = node.args[index] if index < len(node.args) else node
    return keyword or plain


def _name(value: Value) -> str:
    """``conv_dim`` of ``kwargs["conv_dim"]`` and of ``self.conv_dim``."""
    symbol = symbol_of(value)
    path = value.path if isinstance(value, Place) else symbol.origin if symbol is not None else ""
    named = path.partition("=")[0].rstrip("]").removeprefix(ENTRY)
    return named.rpartition("[")[2].rpartition(".")[2]


def _alpha_of(kind: str, spot: Spot) -> str | None:
    """The name of an alpha for the kind in the class or function around the call."""
    return _alphas(around(spot)).get(kind)


@lru_cache(maxsize=64)
def _alphas(text: str) -> dict[str, str]:
    """Names of alphas in a text by their kind of layer."""
    found: dict[str, str] = {}
    told = _told(text)
    for name in sorted(set(_NAME.findall(text)) - told):
        meant = layers_of(name)
        if meant is not None and meant[0] == ALPHA:
            found.setdefault(meant[1], name)
    return found


def _told(text: str) -> set[str]:
    """What stands only in docstrings, and in keys of dictionaries that tell of what was done."""
    try:
        tree = ast.parse(dedent(text))
    except (SyntaxError, ValueError):
        return set()
    nodes = list(ast.walk(tree))
    keys = [key for node in nodes if isinstance(node, ast.Dict) for key in node.keys]
    told = {id(node) for node in (*keys, *(n.value for n in nodes if isinstance(n, ast.Expr)))}
    spelled: set[str] = set()
    meant: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            (spelled if id(node) in told else meant).update(_NAME.findall(node.value))
        meant.update(getattr(node, field) or "" for field in ("id", "attr", "arg") if hasattr(node, field))
    return spelled - meant
