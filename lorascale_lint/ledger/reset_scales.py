"""Methods that set a layer's trained scale to 1: what was put there when the layer was made is lost."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import FACTORS, role_of
from lorascale_lint.ledger.class_fields import Field, Kept
from lorascale_lint.ledger.families import families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import trained


@immutable(frozen=True, slots=True, eq=False)
class ResetScale:
    """``reset`` puts 1 into ``field``, which ``made`` has filled with the trained scale."""

    field: Field
    made: Kept
    reset: Kept


def reset_scales(ledger: Ledger) -> Iterator[ResetScale]:
    """One for each method that sets the scale to 1 and leaves the factors as they were trained."""
    busy = {fold.spot.function for fold in ledger.folds}
    busy |= {store.spot.function for store in ledger.stores if role_of(store.field, True) in FACTORS}
    for family in families(ledger):
        for field in family.fields:
            made = next((k for k in field.kept if k.how == "made" and _is_trained(k)), None)
            restoring = {k.spot.function for k in field.kept if k.how != "made" and _is_trained(k)}
            for kept in field.kept if made is not None else ():
                is_one = bool(kept.scales) and all(scale.constant == 1 for scale in kept.scales)
                alone = kept.how == "set" and kept.spot.function not in busy | restoring
                if made is not None and is_one and alone:
                    yield ResetScale(field, made, kept)


def _is_trained(kept: Kept) -> bool:
    return bool(kept.scales) and all(trained(scale) for scale in kept.scales)
