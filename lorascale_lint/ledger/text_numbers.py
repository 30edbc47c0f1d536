"""Alphas and ranks that are text, and are divided or compared as if they were numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.options import HOLDS_TEXT, OPTION_CALLS
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.defaults import names_of
from lorascale_lint.ledger.entries import Use, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_at_default import constructor
from lorascale_lint.ledger.numbers import number_origins
from lorascale_lint.ledger.origins import last_of, owner_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import NONE, Number, Place, Value, options


@immutable(frozen=True, slots=True, eq=False)
class TextNumber:
    """The text of ``path`` is divided or compared at ``spot``, or at ``divided`` by what gets it there."""

    spot: Spot
    path: str
    how: Literal["divided", "compared", "given"]
    divided: Spot
    option: Spot | None = None
    """Where the option is declared whose type is left out, so that only what a user gives is text."""


def text_numbers(ledger: Ledger) -> Iterator[TextNumber]:
    """Each place once; what ``float`` or ``int`` has made of a text is a number and no place any more."""
    texts = _Texts(ledger)
    seen: set[object] = set()
    for found in (*_divided(ledger, texts), *_compared(ledger, texts), *_given(ledger, texts)):
        if found.spot.node not in seen and not found.spot.file.is_test:
            seen.add(found.spot.node)
            yield found


class _Texts:
    """What is text: entries of tables of text, and options without a type."""

    def __init__(self, ledger: Ledger) -> None:
        declared = [use for use in ledger.uses if use.called in OPTION_CALLS and _is_untyped(use)]
        self._options = {name: use.spot for use in declared for name in names_of(use)}
        typed = [use for use in ledger.uses if use.called in OPTION_CALLS and not _is_untyped(use)]
        for name in (name for use in typed for name in names_of(use)):
            self._options.pop(name, None)

    def path(self, value: Value) -> str:
        """The path of a text that the value may be, or nothing."""
        paths = [option.value.path for option in options(value) if isinstance(option.value, Place)]
        known = (path for path in paths if path.startswith(HOLDS_TEXT) and path.count("[") < 2)
        return next(known, next((path for path in paths if self.option(path) is not None), ""))

    def option(self, path: str) -> Spot | None:
        """Where the option without a type is declared that a path leads to."""
        owner = owner_of(path)
        return self._options.get(last_of(path)) if owner.endswith(("args", "parse_args()")) else None


def _is_untyped(use: Use) -> bool:
    """Is an option of argparse made without a type, a choice or a switch?"""
    return (
        use.called == "add_argument"
        and not use.hidden
        and not use.given.keys() & {"type", "action", "choices"}
    )


def _divided(ledger: Ledger, texts: _Texts) -> Iterator[TextNumber]:
    for quotient in ledger.quotients:
        path = texts.path(quotient.value) or texts.path(quotient.by)
        if path and not quotient.spot.chain:
            yield TextNumber(quotient.spot, path, "divided", quotient.spot, texts.option(path))


def _compared(ledger: Ledger, texts: _Texts) -> Iterator[TextNumber]:
    """Equality alone: the other comparisons fail, and say so."""
    for ask in ledger.asks:
        if ask.how not in ("Eq", "NotEq") or ask.other is None or ask.other == NONE or ask.spot.chain:
            continue
        sides = (ask.value, ask.other), (ask.other, ask.value)
        for text, number in sides:
            path = texts.path(text)
            if (
                path
                and texts.option(path) is None
                and all(isinstance(o.value, Number) for o in options(number))
            ):
                yield TextNumber(ask.spot, path, "compared", ask.spot)


def _given(ledger: Ledger, texts: _Texts) -> Iterator[TextNumber]:
    """Text for a parameter that the callee divides, or divides by."""
    divided: dict[tuple[FunctionInfo | None, str], Spot] = {}
    for quotient in ledger.quotients:
        for side in (quotient.value, quotient.by) if not quotient.spot.chain else ():
            for origin in number_origins(side):
                divided.setdefault((quotient.spot.function, origin.partition("=")[0]), quotient.spot)
    for use in ledger.uses:
        target = constructor(ledger, use.callee) if isinstance(use.callee, FunctionInfo | ClassInfo) else None
        for name, value in use.given.items() if target is not None and not use.spot.chain else ():
            path = texts.path(value) if role_of(name, True) in (ALPHA, RANK) else ""
            there, place = divided.get((target, name)), argument_of(use, name)
            if path and there is not None and place is not None:
                yield TextNumber(place, path, "given", there, texts.option(path))
