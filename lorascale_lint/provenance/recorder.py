"""Writes into the ledger what happens to factors, deltas and their norms, where it happens."""

from __future__ import annotations

import ast
from collections.abc import Callable

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.roles import ALPHA, RANK, SCALING, role_of
from lorascale_lint.ledger.entries import (
    Apply,
    BiasSum,
    DifferenceSum,
    FactorSum,
    FieldRead,
    Fold,
    Norm,
    Product,
    Rescale,
)
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.chosen import chosen
from lorascale_lint.provenance.frames import Frame
from lorascale_lint.provenance.marks import KNOWN_DATA
from lorascale_lint.provenance.scale import Scale, settled, undivided
from lorascale_lint.provenance.tensors import is_difference, tensor
from lorascale_lint.provenance.values import Ref, Tensor, Value, options


class Recorder:
    """The functions that run, the last of them now, and the ledger of what they do."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.stack: list[Frame] = []
        self.recording = True
        self.initialising = 0

    @property
    def frame(self) -> Frame:
        """The function that runs now."""
        return self.stack[-1]

    def spot(self, node: ast.AST) -> Spot:
        """Here, as the ledger writes it."""
        frame = self.stack[-1]
        cls = frame.receiver.cls if isinstance(frame.receiver, Ref) else frame.owner
        return Spot(frame.file, frame.function, cls, node, frame.chain, frame.statement)

    def understood(self, tensor: Tensor) -> Scale:
        """The scale of a tensor where it is used, by all that is known there."""
        scale = undivided(settled(tensor.scale, tensor.layout))
        functions = [frame.function for frame in self.stack]
        owner = self.frame.function.owner if self.frame.function is not None else None
        if owner is not None:  # what a field holds since the object was made
            functions.append(owner.methods.get("__init__"))
        return chosen(scale, functions)

    def report(self, node: ast.AST) -> Callable[[str, Tensor, Value, int], None]:
        """Writes an application at ``node`` into the ledger."""

        def write(kind: str, delta: Tensor, base: Value, operand: int) -> None:
            if self.recording:
                scale = self.understood(delta)
                if kind != "forward" and scale.coefficient < 0:  # `add_(delta, alpha=-scale)` takes it away
                    scale = Scale(-scale.coefficient, scale.powers)
                    kind = "merge" if kind == "unmerge" else "unmerge"
                self.ledger.applies.append(
                    Apply(
                        self.spot(node),
                        kind,
                        scale,
                        self.frame.guards,
                        base,
                        delta.variant,
                        delta.rows,
                        delta.layout,
                        delta.origin,
                        delta.transposed,
                        delta.steps,
                        operand,
                    )
                )

        return write

    def made_product(self, node: ast.AST, value: Value) -> Value:
        """Writes a product into the ledger and marks it with its row."""
        if self.recording:
            for option in options(value):
                found = option.value
                kind, scale, variant = "unknown", None, ""
                reasons: tuple[str, ...] = ()
                layout = ""
                if isinstance(found, Tensor):
                    layout = found.layout
                    kind = {"delta": "delta", "half": "half", "data": "other", "base": "other"}.get(
                        found.kind, "other"
                    )
                    scale, variant = found.scale, found.variant
                    if found.kind == "data" and found.origin not in KNOWN_DATA:
                        reasons = (found.origin,)
                self.ledger.products.append(
                    Product(self.spot(node), kind, variant, scale, "", reasons, layout)
                )
        row = getattr(node, "lineno", 0)
        if isinstance(value, Tensor) and value.kind in ("delta", "half", "data"):
            return replace(value, rows=(*value.rows, row))
        return value

    def read_field(self, node: ast.AST, owner: Value, name: str, value: Value) -> None:
        """Writes down that alpha, the rank or a scale is read from another object of the project."""
        if not self.recording or role_of(name, True) not in (ALPHA, RANK, SCALING):
            return
        others = (option.value for option in options(owner) if option.value != self.frame.receiver)
        if any(isinstance(other, Ref) and other.cls is not None for other in others):
            self.ledger.field_reads.append(FieldRead(self.spot(node), owner, name, value, self.frame.guards))

    def rescaled(self, node: ast.AST, left: Value, right: Value) -> None:
        """Writes down that something is multiplied by a magnitude (divided by a norm, or not)."""
        if not self.recording:
            return
        for value, by in ((tensor(left), tensor(right)), (tensor(right), tensor(left))):
            if value is None or by is None or by.kind != "magnitude":
                continue
            if value.kind in ("adapted", "delta", "base"):
                norm = by.side or value.side
                self.ledger.rescales.append(
                    Rescale(self.spot(node), value, norm, self.frame.guards, by, by.norm or value.norm)
                )

    def renormed(self, node: ast.AST, left: Value, right: Value) -> None:
        """Writes down that what was multiplied by a magnitude is divided by a norm, or a weight by one."""
        value, by = tensor(left), tensor(right)
        over = by is not None and by.kind == "magnitude" and self.recording
        if by is not None and over and value is not None and value.kind in ("base", "adapted"):
            self.ledger.unscales.append(
                Rescale(self.spot(node), value, by.side, self.frame.guards, by, by.norm)
            )
        if value is None or by is None or by.kind != "norm" or not self.recording:
            return
        if value.length is not None and value.norm is None and value.kind == "adapted":
            self.ledger.rescales.append(
                Rescale(self.spot(node), value, by.side, self.frame.guards, value.length, by.norm)
            )

    def normed(self, node: ast.AST, of: Tensor | None, how: str = "norm") -> Norm | None:
        """The norm that is taken, written down; of a statistic in its place, kept with what it gives."""
        if of is None:
            return None
        made = Norm(self.spot(node), of.kind, of.rows, of, how)
        if self.recording and how == "norm":
            self.ledger.norms.append(made)
        return made

    def summed(self, node: ast.AST, left: Value, right: Value) -> None:
        """Writes down that a factor is added to another one of its side, or its bias to that of the base.

        So it is with a raw difference that is added to whatever is no difference.
        """
        if self.recording and is_difference(right) and not is_difference(left):
            origin = getattr(right, "origin", "") or getattr(right, "path", "")
            self.ledger.difference_sums.append(
                DifferenceSum(self.spot(node), origin, left, self.frame.guards)
            )
        one, two = tensor(left), tensor(right)
        if self.recording and two is not None and two.kind == "bias" and (one is None or one.kind != "bias"):
            self.ledger.bias_sums.append(BiasSum(self.spot(node), two.scale, self.frame.guards))
        if self.recording and one is not None and two is not None and one.kind == two.kind in ("A", "B"):
            self.ledger.factor_sums.append(FactorSum(self.spot(node), two.kind, two.scale, self.frame.guards))

    def folded(self, node: ast.AST, value: Value) -> None:
        """Writes down that a factor was multiplied by a scale or a strength."""
        if not self.recording or self.initialising:
            return
        for option in options(value):
            found = option.value
            if isinstance(found, Tensor) and found.kind in ("A", "B") and found.scale.powers:
                scale = self.understood(found)
                self.ledger.folds.append(
                    Fold(self.spot(node), found.kind, scale, self.frame.guards, found.steps)
                )
