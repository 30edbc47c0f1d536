"""Norms of tensors, and the means, sums and deviations that may stand in their place."""

from __future__ import annotations

import ast

from lorascale_lint.provenance.arithmetic import first_given
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.tensors import divide, tensor
from lorascale_lint.provenance.values import Tensor, Value, each


def norm(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """The norm of the first argument."""
    return norm_of(m, first_given(args, keywords), node)


def norm_of(m: Machine, value: Value, node: ast.AST | None) -> Value:
    """The norm of ``value``, which remembers what it is the norm of."""

    def take(one: Value) -> Value:
        found = tensor(one)
        taken = m.normed(node or ast.Pass(lineno=0), found)
        return (
            Tensor("norm") if found is None else Tensor("norm", side=found.kind, rows=found.rows, norm=taken)
        )

    return each(value, take)


def statistic_of(m: Machine, name: str, value: Tensor, node: ast.AST | None, whole: bool = False) -> Value:
    """The mean, sum or deviation of ``value``: it may stand in the place of a norm.

    Over the ``whole`` tensor it is one number, which no weight is changed by.
    """
    if value.kind in ("norm", "magnitude"):
        return Tensor("norm", norm=value.norm)
    if value.kind in ("adapted", "base"):
        return (
            value if name == "abs" else Tensor("norm", norm=m.normed(node or ast.Pass(lineno=0), value, name))
        )
    kept = name == "sum" and value.kind == "delta" and not whole  # of several experts, over their axis
    return value if kept else Tensor("data", origin=value.origin)


def statistic(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """The mean, sum or deviation of the first argument."""

    def take(one: Value) -> Value:
        found = tensor(one)
        whole = len(args) + len(keywords) == 1
        return one if found is None else statistic_of(m, name, found, node, whole)

    return each(first_given(args, keywords), take)


def normalize(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """The first argument over its norm."""

    def divided(one: Value) -> Value:
        return divide(one, norm_of(m, one, node)) if tensor(one) is not None else one

    return each(first_given(args, keywords), divided)
