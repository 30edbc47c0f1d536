"""LS119: one use of a layer's factors has the trained scale, another has none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, GATE, SCALING, STRENGTH
from lorascale_lint.ledger.applications import Application, Family, applications, family_of, folds
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.entries import Ledger, Spot
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Guards, Number, Tensor, contradict, options
from lorascale_lint.rule import Obligation

Path = tuple[Spot, Guards, Scale]
"""Where a delta has a scale, and under which conditions."""


class SiblingWithoutScale(Obligation):
    """Use of a layer's factors without the scale that the layer has

    ## What it finds

    A merge, forward or unmerge whose scale is known and holds nothing of alpha, of factors whose class
    applies them with the trained scale elsewhere, or keeps a trained scale that nobody reads: one number, or
    one for each adapter, of LoRA, LoHa, LoKr and embeddings.

    ## Why it is wrong

    The factors were trained under alpha / rank. A path without it applies another delta than the path beside
    it.

    ## Effect

    2.00x too strong for alpha 64 and rank 128.

    ## Bad

    ```python
    import torch
    from torch import nn


    class KronLinear(nn.Module):
        def __init__(self, base, r, alpha, factor=8):
            super().__init__()
            self.base = base
            self.scale = alpha / r
            out, inner = base.weight.shape
            self.lokr_w1 = nn.Parameter(torch.randn(factor, factor))
            self.lokr_w2_a = nn.Parameter(torch.randn(out // factor, r))
            self.lokr_w2_b = nn.Parameter(torch.zeros(r, inner // factor))

        def forward(self, x):
            delta = torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b) * self.scale
            return self.base(x) + nn.functional.linear(x, delta)

        def merge(self):
            self.base.weight.data += torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b)
    ```

    ## Good

    ```python
    import torch
    from torch import nn


    class KronLinear(nn.Module):
        def __init__(self, base, r, alpha, factor=8):
            super().__init__()
            self.base = base
            self.scale = alpha / r
            out, inner = base.weight.shape
            self.lokr_w1 = nn.Parameter(torch.randn(factor, factor))
            self.lokr_w2_a = nn.Parameter(torch.randn(out // factor, r))
            self.lokr_w2_b = nn.Parameter(torch.zeros(r, inner // factor))

        def forward(self, x):
            delta = torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b) * self.scale
            return self.base(x) + nn.functional.linear(x, delta)

        def merge(self):
            self.base.weight.data += torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b) * self.scale
    ```

    ## Fix safety

    No fix: multiply the delta by the layer's scale at this place, or fold it into a factor on every path.

    ## Limits

    Silent where a factor of the class is folded, where the conditions of the two paths exclude each other,
    and where a number on the way is not known. LoKr of two full matrices has no rank and no scale.

    ## References

    - huggingface/peft#2180: the scale of a LoKr layer is kept and not used
    """

    code = "LS119"
    name = "sibling-without-scale"
    fix = "none"
    yields_to = ("LS101", "LS102", "LS103", "LS104", "LS105", "LS108", "LS109", "LS112", "LS113")

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Applications at scale 1 or a bare strength in a family that has a trained scale."""
        families: dict[Family, list[Application]] = defaultdict(list)
        for application in applications(ledger):
            families[family_of(application)].append(application)
        returned, kept = _scaled_returns(ledger), _unread_scales(ledger)
        folded = {(fold.spot.file.filename, fold.spot.cls.name) for fold in ledger.folds if fold.spot.cls}
        packers = {
            fold.spot.file.filename for fold in folds(ledger)
        }  # what only folds may serve any layer beside it
        for family, members in families.items():
            if not family[1] or family in folded or family[0] in packers:
                continue
            for application in members:
                if not _bare(application):
                    continue
                paths = [
                    (m.spot, b.guards, b.scale) for m in members if m is not application for b in m.branches
                ]
                found = _sibling(application, [*paths, *returned[family]])
                if found is None and family not in kept:
                    continue
                witness, text = found or (kept[family], "kept in a field that nobody reads: alpha / rank")
                yield self.at(
                    application.spot,
                    f"`{application.spot.name}` uses the factors of `{family[1]}` at scale "
                    f"{application.formula}, without its trained scale",
                    effect=effect_of(application.branches[0].scale),
                    trace=[(witness, f"here the scale is {text}")],
                )


def _bare(application: Application) -> bool:
    """Is the scale known on every branch, and nothing of alpha in it?"""
    if application.variant == "lokr" and not any(branch.layout for branch in application.branches):
        return False
    return all(
        not branch.reasons
        and branch.scale.coefficient == 1
        and all(
            symbol.role == GATE or (symbol.role == STRENGTH and power == 1)
            for symbol, power in branch.scale.powers
        )
        for branch in application.branches
    )


def _trained(scale: Scale) -> bool:
    return not scale.unknowns() and any(
        symbol.role in (ALPHA, SCALING) and power > 0 for symbol, power in scale.powers
    )


def _sibling(application: Application, paths: Iterable[Path]) -> tuple[Spot, str] | None:
    """The first path with the trained scale that the application's own conditions do not exclude."""
    own: list[Guards] = [branch.guards for branch in application.branches]
    for spot, guards, scale in paths:
        if _trained(scale) and not any(contradict(mine, guards) for mine in own):
            return spot, scale.formula()
    return None


def _scaled_returns(ledger: Ledger) -> dict[Family, list[Path]]:
    """Methods that give a delta of their class back, with its scale."""
    found: dict[Family, list[Path]] = defaultdict(list)
    for entry in ledger.returns:
        for option in options(entry.value):
            cls, value = entry.spot.cls, option.value
            if cls is not None and isinstance(value, Tensor) and value.kind == "delta":
                guards = (*entry.guards, *option.guards)
                found[entry.spot.file.filename, cls.name].append((entry.spot, guards, value.scale))
    return found


def _unread_scales(ledger: Ledger) -> dict[Family, Spot]:
    """Where a class keeps the trained scale of each adapter in a field that no code reads.

    One number in a field of its own is for LS108.
    """
    found: dict[Family, Spot] = {}
    for entry in ledger.writes:
        cls = entry.spot.cls
        values = [option.value for option in options(entry.value)]
        if cls is None or not all(isinstance(v, Number) and _trained(v.scale) for v in values):
            continue
        reads = {("", entry.name), (cls.name, entry.name)}
        if entry.name and not reads & ledger.fields_read:
            found.setdefault((entry.spot.file.filename, cls.name), entry.spot)
    return found
