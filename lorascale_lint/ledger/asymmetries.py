"""What an unmerge leaves in the weight, in words: another scale or layout, a dropped sum, a backup."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Confidence
from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.accumulations import Accumulation, accumulations, merged_again
from lorascale_lint.ledger.backups import shared_backups, uncopied
from lorascale_lint.ledger.dropped import dropped_weights
from lorascale_lint.ledger.families import families
from lorascale_lint.ledger.inverses import (
    added_again,
    added_both_ways,
    is_embedding,
    other_layouts,
    other_scales,
)
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.overwritten_backups import overwritten_backups
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.undone import emptied, repeated, swapped, turned_magnitudes


@immutable(frozen=True, slots=True, eq=False)
class Asymmetry:
    """What is not undone at ``spot``; ``places`` are those that a repair of the ``kind`` changes."""

    kind: str
    spot: Spot
    text: str
    effect: str
    steps: tuple[tuple[Spot, str], ...]
    places: tuple[Spot, ...] = ()
    accumulation: Accumulation | None = None
    confidence: Confidence = "high"


def asymmetries(ledger: Ledger) -> Iterator[Asymmetry]:
    """Every one of them."""
    yield from _other_scales(ledger)
    yield from _other_layouts(ledger)
    for again, merge in added_again(ledger):
        yield Asymmetry(
            "added",
            again.spot,
            f"`{again.spot.name}` adds the delta once more",
            "the weight keeps twice the delta instead of none",
            ((merge.spot, "the merge adds the delta"), (again.spot, "and this adds it again")),
            (again.spot,),
        )
    for again, merge in added_both_ways(ledger):
        yield Asymmetry(
            "added",
            again.spot,
            f"`{again.spot.name}` adds the delta where it is in the weight, and where it is not",
            "the weight keeps twice the delta instead of none",
            (
                (merge.spot, "a weight without the delta gets it"),
                (again.spot, "and one that has it, by the flag that the other sets, gets it again"),
            ),
            (again.spot,),
        )
    for taken, added, forward in swapped(ledger):
        yield Asymmetry(
            "swapped",
            taken.spot,
            f"`{taken.spot.name}` merges by subtracting the delta that `{forward.spot.name}` adds",
            "a merged layer computes W - delta instead of W + delta",
            (
                (forward.spot, "the forward adds the delta"),
                (taken.spot, "a layer that is not merged yet has it subtracted"),
                (added.spot, "and one that is merged has it added"),
            ),
        )
    yield from _dropped(ledger)
    for backup, merge in shared_backups(ledger):
        store, back = backup.stores[0][0], backup.put_back[0][0]
        yield Asymmetry(
            "shared",
            store.spot,
            f"`{backup.field}` is no copy of the weight that `{merge.spot.name}` changes in place",
            "the unmerge puts back the merged weight: the delta stays",
            (
                (store.spot, f"`{backup.field}` shares the weight's memory"),
                (merge.spot, "the merge changes that memory in place"),
                (back.spot, f"`{backup.field}` is put back, delta included"),
            ),
            tuple(uncopied(backup, merge)),
        )
    for kept in overwritten_backups(ledger):
        comes = kept.again or kept.saved
        yield Asymmetry(
            "overwritten",
            kept.saved,
            f"`{kept.field}` is overwritten by weights that hold the delta of a merge before",
            "what is put back still has every delta but the last one",
            (
                (kept.merge.spot, "the merge changes the weight that was saved"),
                (comes, "and this goes on to the next merge without putting it back"),
                (kept.back, f"`{kept.field}` is put back here"),
            ),
            confidence="high" if kept.again is not None else "medium",
        )
    yield from _lost(ledger)
    yield from _not_undone(ledger)


def _other_scales(ledger: Ledger) -> Iterator[Asymmetry]:
    for merge, unmerge in other_scales(ledger):
        put, taken = merge.scale.formula(), unmerge.scale.formula()
        yield Asymmetry(
            "scale",
            unmerge.spot,
            f"`{unmerge.spot.name}` takes back {taken}, and `{merge.spot.name}` added {put}",
            f"{put} - {taken} of the delta stays in the weight",
            (
                (merge.spot, f"the merge adds the delta at {put}"),
                (unmerge.spot, f"and this takes it back at {taken}"),
            ),
        )


def _other_layouts(ledger: Ledger) -> Iterator[Asymmetry]:
    for merge, unmerge, turned in other_layouts(ledger):
        put, taken = "`B @ A` as it is", "its transpose"
        if turned is merge:
            put, taken = taken, put
        repaired = turned is unmerge and is_embedding(merge)
        yield Asymmetry(
            "turned",
            merge.spot,
            f"delta transposed in `{turned.spot.name}` and not in its inverse"
            if merge.spot.function is not unmerge.spot.function
            else f"`{merge.spot.name}` adds {put} and subtracts {taken}",
            "a rectangular weight fails; a square one keeps `BA - (BA).T` of each cycle",
            ((merge.spot, f"the merge adds {put}"), (unmerge.spot, f"the unmerge subtracts {taken}")),
            (merge.spot, unmerge.spot) if repaired else (),
        )


def _dropped(ledger: Ledger) -> Iterator[Asymmetry]:
    for found in dropped_weights(ledger):
        what, made = f"{found.verb} and drops the result", (found.spot, "this is a new tensor")
        if found.helper is not None:
            what = f"drops what `{found.helper.name}` returns"
            made = (found.helper, f"`{found.helper.name}` only returns a new tensor")
        sibling = () if found.sibling is None else ((found.sibling, "the other branch writes its result"),)
        yield Asymmetry(
            "dropped",
            found.spot,
            f"`{found.spot.name}` {what}",
            "the weight stays as it was",
            (*sibling, made, (found.spot, "nothing here writes it back or returns it")),
            () if found.weight is None else (found.spot, found.weight),
        )


def _lost(ledger: Ledger) -> Iterator[Asymmetry]:
    for family in families(ledger):
        for found in accumulations(ledger, family):
            write, again = found.overwrites(ledger), merged_again(ledger, found)
            if write is not None and again is not None:
                yield Asymmetry(
                    "lost",
                    write.spot,
                    f"`{found.setter.function.name}` replaces the factors of adapters that `{found.flag}` "
                    "leaves in the weight",
                    "the former adapters are lost as soon as the layer is merged again",
                    (
                        (found.unmerging.spot, f"no unmerge for that value of `{found.flag}`"),
                        (again.spot, "this merges again, from the factors of the last adapter"),
                    ),
                    accumulation=found,
                )


def _not_undone(ledger: Ledger) -> Iterator[Asymmetry]:
    for again in repeated(ledger):
        yield Asymmetry(
            "repeated",
            again.undo,
            f"`{again.undo.name}` multiplies `{again.target}` as the merge does, and does not divide it",
            "each cycle leaves the factor once more: its square after the first",
            ((again.merge, "the merge multiplies it"), (again.undo, "and this does the same again")),
        )
    for none in emptied(ledger):
        undo_name, merge_name = none.undo.spot.name, none.merge.spot.name
        yield Asymmetry(
            "emptied",
            none.undo.spot,
            f"`{undo_name}` subtracts the product of factors that `{merge_name}` has set to zero",
            "all of the delta stays in the weight",
            (
                (none.merge.spot, "the merge adds the delta"),
                (none.zeroed, "and sets a factor to zero"),
                (none.undo.spot, "so that nothing is taken back here"),
            ),
        )
    for merge, undo in turned_magnitudes(ledger):
        turned = merge if merge.magnitude.transposed else undo
        yield Asymmetry(
            "magnitude",
            undo.spot,
            f"magnitude transposed in `{turned.spot.name}` and not in its inverse",
            "a rectangular weight fails; a square one is divided along the other axis",
            ((merge.spot, "the merge multiplies by it"), (undo.spot, "and this divides by it")),
        )
