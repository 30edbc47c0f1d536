"""Layers that get a literal alpha, or none, where trained factors are loaded into them."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import (
    LOADS_INTO_MODEL,
    SETTINGS_WORDS,
    TRAINS,
    UPDATES,
    WRITES_TENSORS,
)
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, role_of, words
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.ledger.defaults import Defaults
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import looks, row_in
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Alternative, Place, options


@immutable(frozen=True, slots=True)
class FixedAlpha:
    """Layers are made with an alpha of their own, or none, where the training takes it from its settings."""

    chosen: Use
    made: Use
    alpha: Scale | None
    loads: Use


def fixed_alphas(ledger: Ledger) -> Iterator[FixedAlpha]:
    """One for each place where such layers are made."""
    every = list(_chosen(ledger))
    if not every:
        return
    trainers = {use.spot.function for use in every if not use.spot.chain}
    loaders = {u.spot.function for u in ledger.uses if u.called in LOADS_INTO_MODEL}
    opens = {u.spot.function for u in ledger.uses if any(map(_is_file, options(u.result)))}
    seen: set[tuple[str, int]] = set()
    for look in looks(ledger, callees=True):
        own = [use for use in look.uses if use.spot.function not in trainers]
        made = next((u for u in own if _is_literal(u) or _is_left_out(u, every)), None)
        if made is None or made.spot.file.is_test or look.function in trainers:
            continue
        if any(use.called in TRAINS for use in look.uses):
            continue
        after = [use for use in look.uses if row_in(look, use.spot) > row_in(look, made.spot)]
        loads = next((u for u in after if u.called in LOADS_INTO_MODEL or u.callee in loaders), None)
        if loads is None and made.spot.function in opens and not _is_literal(made):
            loads = next((u for u in after if u.called in UPDATES), None)
        place = (made.spot.file.filename, made.spot.row)
        if loads is None or place in seen:
            continue
        row = row_in(look, loads.spot)
        if any(u.called in WRITES_TENSORS and row_in(look, u.spot) < row for u in after):
            continue  # it loads what it has saved, to check it
        seen.add(place)
        yield FixedAlpha(every[0], made, _given(made, ALPHA), loads)


def _chosen(ledger: Ledger) -> Iterator[Use]:
    """Where layers are made with an alpha and a rank that are settings (``args.lora_alpha``)."""
    defaults = Defaults(ledger)
    for use in ledger.uses:
        if use.spot.file.is_test or not _makes_layers(use):
            continue
        alpha, rank = _given(use, ALPHA), _given(use, RANK)
        if alpha is None or rank is None:
            continue
        for symbol, power in alpha.powers:
            head, bracket, _ = symbol.origin.partition("[")
            entry = bool(bracket) and not SETTINGS_WORDS.isdisjoint(words(head)[-1:])
            setting = (
                "." in head
                or entry
                or any(item.how != "parameter" for item in defaults.of(f"settings.{symbol.origin}", use.spot))
            )
            own = symbol.origin.startswith("self.")  # which may be anything that the object was given
            if symbol.role == ALPHA and power == 1 and setting and rank.powers and not own:
                yield use


def _makes_layers(use: Use) -> bool:
    """Does a call speak of LoRA, or what it calls?"""
    callee = use.callee
    return speaks_of_lora(use.name.partition("(")[0]) or (
        callee is not None and speaks_of_lora(callee.file.text(callee.node))
    )


def _is_literal(use: Use) -> bool:
    if not speaks_of_lora(f"{use.called} {' '.join(use.given)}"):  # or `Linear(r=1, lora_alpha=1)`
        return False
    alpha, rank = _given(use, ALPHA), _given(use, RANK)
    return alpha is not None and rank is not None and not alpha.powers


def _is_left_out(use: Use, chosen: list[Use]) -> bool:
    """Does a call make the same layers as the training does, and say nothing of their scale but the rank?"""
    if use.hidden:
        return False
    said = {role_of(name, True) for name in use.given} & {ALPHA, SCALING, MULTIPLIER}
    same = [other for other in chosen if other.name == use.name]
    return bool(same) and all(use.spot.node is not other.spot.node for other in same) and not said


def _is_file(option: Alternative) -> bool:
    return isinstance(option.value, Place) and option.value.made == "state dict"


def _given(use: Use, role: str) -> Scale | None:
    found = [value for name, value in use.given.items() if not name.isdigit() and role_of(name, True) == role]
    return scale_of(found[0]) if len(found) == 1 else None
