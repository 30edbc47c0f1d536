"""What callers give converters as the alpha of the file that they convert."""

from __future__ import annotations

from lorascale_lint.ledger.fates import Fate
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import calls_of
from lorascale_lint.provenance.values import NONE, options
from lorascale_lint.provenance.ways import origins


def gives_own_alpha(ledger: Ledger, fate: Fate, argument: str) -> bool:
    """Does a caller give the function what may be the alpha of the file: more than an argument of its own?"""
    calls = calls_of(ledger, fate.trial.function)
    given = [use.given[argument] for use in calls if argument in use.given]
    return any(
        sign in path for value in given for path in origins(value) for sign in ("[", "(", ".")
    ) or not any(option.value == NONE for value in given for option in options(value))
