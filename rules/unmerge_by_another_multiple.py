"""LS221: an unmerge takes another multiple of the stored factors away than the merge added."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.entries import Apply, KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import Place, Value
from lorascale_lint.rule import Rule


class UnmergeByAnotherMultiple(Rule):
    """Unmerge by a stored multiple that is not the one of the merge

    ## What it finds

    A delta of stored factors that is subtracted times a number kept for each adapter, where a function
    writes another number there than it multiplies the same factors by when it adds them.

    ## Why it is wrong

    An unmerge undoes a merge only if it takes away what was added. The difference of the two multiples stays
    in the weight, and grows with every change of the strength.

    ## Effect

    A residue of (1 / scaling - 1) times the delta after each change, where the merge divides by a scaling.

    ## Bad

    ```python
    def reweight(layer, name, weight):
        unfuse_lora(layer)
        layer.active[name] = weight
        times = weight / layer.scaling[name]
        layer.weight.data += times * (layer.lora_B[name] @ layer.lora_A[name])


    def unfuse_lora(layer):
        for name, weight in list(layer.active.items()):
            layer.weight.data -= weight * (layer.lora_B[name] @ layer.lora_A[name])
            layer.active.pop(name)
    ```

    ## Good

    ```python
    def reweight(layer, name, weight):
        unfuse_lora(layer)
        times = weight / layer.scaling[name]
        layer.active[name] = times
        layer.weight.data += times * (layer.lora_B[name] @ layer.lora_A[name])


    def unfuse_lora(layer):
        for name, times in list(layer.active.items()):
            layer.weight.data -= times * (layer.lora_B[name] @ layer.lora_A[name])
            layer.active.pop(name)
    ```

    ## Fix safety

    No fix: keep the number that multiplies the delta, or multiply by the number that is kept.

    ## Limits

    Both functions stand in one file and name the factors and the kept number by the same path.

    ## References

    - siliconflow/onediff#926
    """

    code = "LS221"
    name = "unmerge-by-another-multiple"
    fix = "none"
    yields_to = ("LS109",)

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Merges whose multiple is not the number that the function keeps for the unmerge."""
        undone = _undone(ledger)
        kept: dict[tuple[object, str], KeyWrite] = {}
        for item in ledger.writes:
            kept[item.spot.function, _path(item.container)] = item
        reported: set[tuple[str, int]] = set()
        for entry in ledger.applies:
            if entry.kind != "merge" or entry.spot.chain:
                continue
            unmerge = undone.get((entry.spot.file.filename, _root(entry.factors)))
            write = kept.get((entry.spot.function, _multiple(unmerge) or "")) if unmerge else None
            if unmerge is None or write is None or not entry.scale.powers:
                continue
            place = (entry.spot.file.filename, entry.spot.row)
            if place in reported or _same(entry.scale, write.value):
                continue
            reported.add(place)
            yield self.at(
                entry.spot,
                f"`{entry.spot.name}` adds another multiple of the delta than `{unmerge.spot.name}` "
                f"takes away: `{_multiple(unmerge)}` keeps another number",
                trace=[
                    (write.spot, "this number is kept"),
                    (unmerge.spot, "it multiplies what is taken away"),
                ],
            )


def _undone(ledger: Ledger) -> dict[tuple[str, str], Apply]:
    """Unmerges by a kept number, by file and the place of their factors."""
    return {
        (entry.spot.file.filename, _root(entry.factors)): entry
        for entry in ledger.applies
        if entry.kind == "unmerge" and _multiple(entry) and "[" in entry.factors
    }


def _multiple(entry: Apply) -> str | None:
    """The dictionary whose entry alone multiplies the delta."""
    if len(entry.scale.powers) != 1 or entry.scale.coefficient != 1:
        return None
    symbol, power = entry.scale.powers[0]
    return _root(symbol.origin) if power == 1 and "[" in symbol.origin else None


def _root(path: str) -> str:
    return path.partition("[")[0]


def _path(container: Value) -> str:
    return container.path if isinstance(container, Place) else ""


def _same(scale: Scale, value: Value) -> bool:
    """Is the kept value the scale, as far as both are known?"""
    known = number(value)
    held = known.scale if known is not None else None
    if held is None and isinstance(value, Place):
        held = Scale.of("", value.path)
    inverse = held.inverse() if held is not None else None
    if inverse is None:
        return True
    rest: dict[str, Fraction] = {}
    for symbol, power in (scale * inverse).powers:  # one number may have a role here and none there
        rest[symbol.origin] = rest.get(symbol.origin, Fraction(0)) + power
    return (scale * inverse).coefficient == ONE.coefficient and not any(rest.values())
