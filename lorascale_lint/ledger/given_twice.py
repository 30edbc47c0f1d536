"""Numbers that a call is given as an alpha and as a strength."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.knowledge.roles import ALPHA, NUMBERS, STRENGTHS, role_of, speaks_of_lora
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.values import Place, options


@dataclass(frozen=True, slots=True, eq=False)
class GivenTwice:
    """``name`` is given for the parameters ``alpha`` and ``strength`` of one call."""

    use: Use
    name: str
    alpha: str
    strength: str


def given_twice(ledger: Ledger) -> Iterator[GivenTwice]:
    """Each call of code that speaks of LoRA once."""
    seen: set[object] = set()
    for use in ledger.uses:
        if use.spot.node in seen or use.spot.chain or use.spot.file.is_test:
            continue
        roles = {name: role_of(name, True) for name in use.given if not name.isdigit()}
        alphas = [name for name, role in roles.items() if role == ALPHA]
        strengths = [name for name, role in roles.items() if role in STRENGTHS]
        if len(alphas) != 1 or len(strengths) != 1 or not speaks_of_lora(f"{use.name} {' '.join(use.given)}"):
            continue
        names = [_number(use, name) for name in (alphas[0], strengths[0])]
        if names[0] and names[0] == names[1]:
            seen.add(use.spot.node)
            yield GivenTwice(use, names[0].partition("=")[0], alphas[0], strengths[0])


def _number(use: Use, parameter: str) -> str:
    """By which name the number is known that is given, if it is one."""
    found = [option.value for option in options(use.given[parameter])]
    plain = [value.path for value in found if isinstance(value, Place) and value.role in NUMBERS]
    return plain[0] if len(plain) == len(found) == 1 else ""
