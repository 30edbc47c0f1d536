"""LS411: the forward brings rows to DoRA's magnitude, a merge of the same factors adds the delta only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.kinds import speaks_of_dora
from lorascale_lint.ledger.applications import Application, Family, applications, family_of
from lorascale_lint.ledger.entries import Rescale
from lorascale_lint.ledger.ignored_dora import ignored_dora
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import Closure, Ref, options
from lorascale_lint.rule import Rule


class MagnitudeLeftOutOfMerge(Rule):
    """Merge of a DoRA layer that leaves its magnitude out

    ## What it finds

    A merge or export of factors whose class brings base and delta to a learned magnitude elsewhere, where
    the sum is used as it is: no magnitude multiplies it, no norm is taken of it, and no condition on the way
    asks for DoRA. Also a layer on PEFT's `LoraLayer` that hands `use_dora` to `update_layer`, and whose
    forward adds the delta as of plain LoRA.

    ## Why it is wrong

    DoRA learns the direction in the factors and the length in the magnitude. The merged weight has the
    direction of the trained layer and rows of another length.

    ## Effect

    Rows are too long or too short by the norm of the adapted row over the magnitude.

    ## Bad

    ```python
    import torch
    from torch import nn


    class DoraLinear(nn.Module):
        def __init__(self, base, rank, alpha):
            super().__init__()
            self.base = base
            self.scale = alpha / rank
            self.lora_A = nn.Linear(base.in_features, rank, bias=False)
            self.lora_B = nn.Linear(rank, base.out_features, bias=False)
            self.lora_magnitude = nn.Parameter(base.weight.norm(dim=1))

        def forward(self, x):
            delta = self.lora_B(self.lora_A(x)) * self.scale
            adapted = self.base.weight + self.scale * self.lora_B.weight @ self.lora_A.weight
            factor = self.lora_magnitude / adapted.norm(dim=1).detach()
            return factor * (self.base(x) + delta)

        @torch.no_grad()
        def merge(self):
            delta = self.scale * (self.lora_B.weight @ self.lora_A.weight)
            self.base.weight.data += delta
    ```

    ## Good

    ```python
    import torch
    from torch import nn


    class DoraLinear(nn.Module):
        def __init__(self, base, rank, alpha):
            super().__init__()
            self.base = base
            self.scale = alpha / rank
            self.lora_A = nn.Linear(base.in_features, rank, bias=False)
            self.lora_B = nn.Linear(rank, base.out_features, bias=False)
            self.lora_magnitude = nn.Parameter(base.weight.norm(dim=1))

        def forward(self, x):
            delta = self.lora_B(self.lora_A(x)) * self.scale
            adapted = self.base.weight + self.scale * self.lora_B.weight @ self.lora_A.weight
            factor = self.lora_magnitude / adapted.norm(dim=1).detach()
            return factor * (self.base(x) + delta)

        @torch.no_grad()
        def merge(self):
            adapted = self.base.weight + self.scale * (self.lora_B.weight @ self.lora_A.weight)
            self.base.weight.data = adapted * (self.lora_magnitude / adapted.norm(dim=1)).unsqueeze(1)
    ```

    ## Fix safety

    No fix: the axis of the norm is the layer's own. Multiply the sum by magnitude over its norm, as the
    forward does, or refuse layers with a magnitude.

    ## Limits

    Looks at factors that an object of the project holds. Silent where a condition on the way names DoRA or
    the magnitude, and on methods of which one is kept in a field and called for all of them.

    ## References

    - unslothai/unsloth-zoo#828
    """

    code = "LS411"
    name = "magnitude-left-out-of-merge"
    fix = "none"
    yields_to = ("LS405", "LS408")

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Merges of a family that has a magnitude, whose sum is neither normed nor multiplied by it."""
        witnesses, touched = _magnitudes(ledger)
        chosen = _chosen(ledger)
        for application in applications(ledger):
            witness = witnesses.get(family_of(application))
            if witness is None or application.kind == "forward":
                continue
            rows = {(application.spot.file.filename, row) for row in application.rows}
            if rows & touched or not rows or _asks_for_dora(application):
                continue
            if any({witness.spot.function, application.spot.function} <= methods for methods in chosen):
                continue
            yield self.at(
                application.spot,
                f"`{application.spot.name}` adds the delta of `{family_of(application)[1]}` without its "
                "magnitude",
                trace=[
                    (witness.spot, "here base and delta are brought to the magnitude"),
                    (application.spot, "here they are not"),
                ],
            )

        for ignored in ignored_dora(ledger):
            yield self.at(
                ignored.forward.spot,
                f"`{ignored.forward.spot.name}` adds the delta of plain LoRA, whatever `{ignored.flag}` says",
                effect="a DoRA adapter is applied without its magnitude",
                trace=[
                    (ignored.handed, f"`{ignored.flag}` makes a layer with a magnitude"),
                    (ignored.forward.spot, "and the forward never asks for it"),
                ],
            )


def _magnitudes(ledger: Ledger) -> tuple[dict[Family, Rescale], set[tuple[str, int]]]:
    """Where each class uses its magnitude, and the rows of all products that a magnitude or norm has seen."""
    found: dict[Family, Rescale] = {}
    touched = {(norm.spot.file.filename, row) for norm in ledger.norms for row in norm.rows}
    for entry in ledger.rescales:
        rows = (*entry.value.rows, *entry.magnitude.rows)
        touched.update((entry.spot.file.filename, row) for row in rows)
        holder, dot, _ = entry.magnitude.origin.partition(".")
        if dot and entry.magnitude.learned and entry.norm_of == "adapted":
            found.setdefault((entry.spot.file.filename, holder), entry)
    return found, touched


def _chosen(ledger: Ledger) -> list[set[FunctionInfo | None]]:
    """Methods of which one is kept in a field, ``self.add = self.plain``, and called for all of them."""
    found: dict[tuple[ClassInfo, str], set[FunctionInfo | None]] = defaultdict(set)
    for store in ledger.stores:
        if isinstance(store.owner, Ref) and store.owner.cls is not None:
            kept = [option.value for option in options(store.value)]
            found[store.owner.cls, store.field].update(way.info for way in kept if isinstance(way, Closure))
    return [methods for methods in found.values() if len(methods) > 1]


def _asks_for_dora(application: Application) -> bool:
    atoms = [atom for branch in application.branches for atom, _ in branch.guards]
    return any(speaks_of_dora(atom) for atom in atoms if not atom.startswith(("is ", "isinstance(")))
