"""Alphas that a converter takes from settings and writes into settings, beside the files of the factors."""

from __future__ import annotations

from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, role_of
from lorascale_lint.ledger.fates import Fate, Output
from lorascale_lint.ledger.key_words import alpha_words
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.tables import literal_of
from lorascale_lint.provenance.values import Value, options


def is_in_settings(ledger: Ledger, fate: Fate, output: Output) -> bool:
    """Is the alpha that the code knows one of settings, and written beside a rank by a function that ran?

    A file of a convention that states an alpha for each module has it among its tensors.
    """
    if fate.trial.sample.states_alpha or not all(text.isidentifier() for _, text in alpha_words(fate)):
        return False
    ran = fate.ran
    writes = [write for write in ledger.writes if write.spot.function in ran]
    return any(
        role_of(literal_of(write.key), True) in (ALPHA, SCALING, MULTIPLIER)
        and write.container != output.container
        and _is_of_alpha(write.value)
        and any(role_of(literal_of(w.key), True) == RANK and w.container == write.container for w in writes)
        for write in writes
    )


def _is_of_alpha(value: Value) -> bool:
    """Is the number an alpha, or made of one, that was looked up?"""
    scales = [scale for option in options(value) if (scale := scale_of(option.value)) is not None]
    return any(
        symbol.role in (ALPHA, SCALING) and "[" in symbol.origin
        for scale in scales
        for symbol, _ in scale.powers
    )
