"""Builders of layers that are told to use rsLoRA on some branches and not on others."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo, dotted
from lorascale_lint.linking.results import arms


@immutable(frozen=True, slots=True, eq=False)
class UntoldSibling:
    """``use`` makes a layer with alpha and rank of ``config``; ``told``, on another branch, has ``flag``."""

    use: Use
    told: Use
    flag: str
    config: str

    @property
    def spot(self) -> Spot:
        """Where the flag is missing."""
        return self.use.spot

    @property
    def message(self) -> str:
        """What is wrong."""
        return f"`{self.use.called}` is made without `{self.flag}`, which `{self.told.called}` is given"

    @property
    def steps(self) -> tuple[tuple[Spot, str], ...]:
        """How it comes about."""
        return (
            (self.told.spot, f"other layers of this configuration are told `{self.flag}`"),
            (self.use.spot, "this kind gets its alpha and rank, and not the flag"),
        )


def untold_siblings(ledger: Ledger) -> Iterator[UntoldSibling]:
    """Each call that leaves the flag out while two or more others of its function give it."""
    by_function: dict[FunctionInfo, dict[ast.AST, tuple[Use, str]]] = defaultdict(dict)
    for use in ledger.uses:
        function, config = use.spot.function, _configuration(use)
        if function is not None and config and not use.spot.chain and not use.spot.file.is_test:
            by_function[function].setdefault(use.spot.node, (use, config))
    for function, calls in by_function.items():
        told = [(use, config, flag) for use, config in calls.values() if (flag := _flag(use))]
        if len({use.name for use, _, _ in told}) < 2 or _asks(function):
            continue
        for use, config in calls.values():
            if _flag(use) or use.hidden:
                continue
            beside = (
                t for t in told if t[1] == config and _are_apart(function, t[0], use) and _like(t[0], use)
            )
            other = next(beside, None)
            if other is not None:
                yield UntoldSibling(use, other[0], other[2], config)


def _configuration(use: Use) -> str:
    """What both numbers are read from, as it is written: ``config`` of ``r=config.r, alpha=config.alpha``."""
    node = use.spot.node
    owners: dict[str, str] = {}
    for keyword in node.keywords if isinstance(node, ast.Call) else ():
        role = role_of(keyword.arg or "", True)
        match keyword.value:
            case ast.Attribute(value=owner) if role in (ALPHA, RANK):
                owners[role] = dotted(owner)
            case ast.Name() if role in (ALPHA, RANK):
                owners[role] = "parameters"
            case _:
                pass
    found = set(owners.values())
    return found.pop() if len(owners) == 2 and len(found) == 1 else ""


def _flag(use: Use) -> str:
    node = use.spot.node
    names = (keyword.arg or "" for keyword in node.keywords) if isinstance(node, ast.Call) else ()
    return next(filter(speaks_of_rslora, names), "")


def _asks(function: FunctionInfo) -> bool:
    """Does a test of the function speak of the flag: it refuses it, or changes alpha by it?"""
    tests = (n.test for n in ast.walk(function.node) if isinstance(n, ast.If | ast.IfExp | ast.Assert))
    return any(speaks_of_rslora(ast.unparse(test)) for test in tests)


def _like(told: Use, use: Use) -> bool:
    """Is it LoRA as well? Other decompositions have no such divisor."""
    return "lora" in use.called.lower() or "lora" not in told.called.lower()


def _are_apart(function: FunctionInfo, one: Use, two: Use) -> bool:
    """Do they stand on two branches of one test?"""
    here, there = arms(function, one.spot.node), arms(function, two.spot.node)
    return any((branch, not holds) in there for branch, holds in here)
