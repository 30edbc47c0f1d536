"""Alphas that a function has at hand, or could read, and does not give to what it calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import READS_WHOLE
from lorascale_lint.knowledge.kinds import makes_objects
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.ledger import left_at_default as calls
from lorascale_lint.ledger.entries import Use, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_at_default import LeftAlpha
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.numbers import alpha_of
from lorascale_lint.ledger.origins import owner_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Place, Ref, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Dropped:
    """A call that leaves the alpha of its callee at a default.

    ``arguments`` are the keywords that it lacks, with what the caller has for them; ``harmless`` says that
    the default of a missing alpha is the rank, so that adapters with alpha = rank stay as they are.
    """

    use: Use
    message: str
    steps: tuple[tuple[Spot, str], ...]
    arguments: tuple[tuple[str, str], ...] = ()
    harmless: bool = False


def dropped_alphas(ledger: Ledger) -> Iterator[Dropped]:
    """Every such call, for the first reason that holds."""
    for left in calls.left_alphas(ledger):
        found = (
            _unused(ledger, left)
            or _unread(ledger, left)
            or _left_in_settings(ledger, left)
            or _reset(ledger, left)
            or _half_configured(ledger, left)
            or _beside_told(ledger, left)
        )
        if found is not None:
            yield found
    yield from _rebuilt(ledger)


def _unused(ledger: Ledger, left: LeftAlpha) -> Dropped | None:
    """A constructor or factory that is given alpha, uses it nowhere, and calls what takes one."""
    caller, target = left.caller, left.target
    alpha = calls.dropped_parameter(caller)
    stored = left.stored(ledger)
    if alpha is None or not calls.is_made_with(ledger, left):
        return None
    if any(calls.written_after(ledger, left, field) for field in stored):
        return None
    if not any(calls.is_read(ledger, left, field) for field in stored):
        return None  # a variant that has no alpha, or one that is not followed
    wanted, taken = ([n for n in f.parameters if role_of(n, True) == RANK] for f in (target, caller))
    passed = len(taken) == len(wanted) == 1 and wanted[0] not in left.use.given
    ranks = [(wanted[0], taken[0])] if passed and calls.default_of(target, wanted[0]) is not None else []
    return Dropped(
        left.use,
        f"`{caller.qualname}` is given `{alpha.arg}` and drops it: this call leaves it at {left.default}",
        (
            (Spot(caller.file, caller, caller.owner, alpha), f"`{alpha.arg}` comes in and is used nowhere"),
            (left.use.spot, f"this call of `{target.qualname}` does not pass it"),
            (left.declared, f"so `{left.parameter}` is {left.default}"),
        ),
        (*ranks, (left.parameter, alpha.arg)),
    )


def _unread(ledger: Ledger, left: LeftAlpha) -> Dropped | None:
    """The alpha beside the rank that the call is given, taken into a name that nothing reads."""
    ranks = [option.value for _, given, _ in left.ranks() for option in options(given)]
    owners = {owner_of(rank.path) for rank in ranks if isinstance(rank, Place)} - {""}
    for bind in ledger.binds:
        own = bind.spot.function is left.caller and not bind.spot.chain
        if not own or bind.name in left.caller.names_read or owner_of(alpha_of(bind.value)) not in owners:
            continue
        return Dropped(
            left.use,
            f"`{left.caller.qualname}` reads `{bind.name}` and drops it: it stays {left.default} here",
            (
                (bind.spot, f"`{bind.name}` is taken from where the rank comes from, and nothing reads it"),
                (left.use.spot, f"this call of `{left.target.qualname}` does not pass it"),
                (left.declared, f"so `{left.parameter}` is {left.default}"),
            ),
            ((left.parameter, bind.name),),
        )
    return None


def _left_in_settings(ledger: Ledger, left: LeftAlpha) -> Dropped | None:
    """The alpha that the class of the settings declares beside the rank which the call is given."""
    places = [argument.node for _, _, argument in left.ranks() if argument is not None]
    for read in ledger.field_reads:
        owner = read.owner.cls if isinstance(read.owner, Ref) else None
        if owner is None or read.spot.chain or not any(read.spot.node is node for node in places):
            continue
        declared = {name: cls for cls in ledger.lineage(owner) for name in cls.attributes}
        alpha = next((name for name in declared if role_of(name, True) == ALPHA), None)
        if (
            alpha is None
            or alpha in left.caller.attributes_read
            or not isinstance(read.spot.node, ast.Attribute)
        ):
            continue
        told = f"{ast.unparse(read.spot.node.value)}.{alpha}"
        return Dropped(
            left.use,
            f"`{left.target.qualname}` gets the rank of `{owner.name}` and not its alpha",
            (
                (read.spot, f"the rank is that of the settings, which have `{alpha}` as well"),
                (left.declared, f"`{left.parameter}` keeps its default {left.default}"),
            ),
            ((left.parameter, told),),
        )
    return None


def _reset(ledger: Ledger, left: LeftAlpha) -> Dropped | None:
    """A call on the same object that writes the default over the alpha which the constructor stored."""
    if not makes_objects(left.caller.name) or not calls.gives_own_rank(left):
        return None
    for first, store in calls.overwritten(ledger, left):
        field = store.field
        if calls.written_after(ledger, left, field) or not calls.is_read(ledger, left, field):
            continue
        return Dropped(
            left.use,
            f"`{left.caller.qualname}` resets `{field}`: `{left.target.name}` is not given it",
            (
                (first.spot, f"the constructor stores the trained `{field}`"),
                (left.use.spot, f"this call passes the rank that the constructor stored, not `{field}`"),
                (left.declared, f"so `{left.parameter}` is {left.default}"),
                (store.spot, f"and `{field}` is overwritten"),
            ),
            ((left.parameter, f"self.{field}"),),
            harmless=left.default is None and calls.stands_in(store.value),
        )
    return None


def _half_configured(ledger: Ledger, left: LeftAlpha) -> Dropped | None:
    """A layer that gets the rank of a configuration, and not the alpha that its sibling gets from there."""
    found = calls.told_by_configuration(ledger, left)
    if found is None:
        return None
    told, config, rank = found
    made = left.target.owner.name if left.target.owner is not None else left.target.name
    alpha = f"{config}.{getattr(told.argument.node, 'attr', '')}"
    return Dropped(
        left.use,
        f"`{made}` gets the rank of `{config}` and not its alpha",
        (
            (rank, "the rank comes from the configuration"),
            (left.declared, f"`{left.parameter}` keeps its default {left.default}"),
            (told.argument, f"`{told.use.spot.name}` gives such a layer `{alpha}`"),
        ),
        ((left.parameter, alpha),),
    )


def _beside_told(ledger: Ledger, left: LeftAlpha) -> Dropped | None:
    """A call that gets the rank alone, where another one in the function gets the same rank and its alpha."""
    ranks = [value for _, value, _ in left.ranks()]
    made = left.target.owner.name if left.target.owner is not None else left.target.name
    if any(calls.written_after(ledger, left, field) for field in left.stored(ledger)) or _is_set(
        ledger, left
    ):
        return None
    for other in ledger.once(ByFunction).uses.get(left.caller, ()):
        told = other.given.get(left.parameter)
        if told is None or other.spot.chain or other.callee is None or other.spot.node is left.use.spot.node:
            continue
        given = [value for name, value in other.given.items() if role_of(name, True) == RANK]
        argument = argument_of(other, left.parameter)
        if ranks and given == ranks and argument is not None and alpha_of(told):
            return Dropped(
                left.use,
                f"`{made}` gets the rank of another layer and not its alpha",
                (
                    (argument, f"`{other.spot.name}` gives a layer this alpha with the same rank"),
                    (left.use.spot, "this call gets the rank alone"),
                    (left.declared, f"so `{left.parameter}` is {left.default}"),
                ),
                ((left.parameter, ast.unparse(argument.node)),),
            )
    return None


def _is_set(ledger: Ledger, left: LeftAlpha) -> bool:
    """Does the caller tell something made before an alpha, by a method?"""
    return any(
        isinstance(use.callee, FunctionInfo)
        and use.callee.name != "__init__"
        and use.callee.owner is not None
        and any(role_of(name, True) == ALPHA for name in use.given)
        for use in ledger.once(ByFunction).uses.get(left.caller, ())
        if not use.spot.chain and use.spot.row > left.use.spot.row
    )


def _rebuilt(ledger: Ledger) -> Iterator[Dropped]:
    """A loader that makes adapter layers with defaults, where training is told rank and scale.

    The evidence for the parameters is another call of the same callable in the project that gives them.
    """
    opened: dict[object, Use] = {}
    for use in ledger.uses:
        if not use.spot.chain and _is_file(use.result):
            opened.setdefault(use.spot.function, use)
    puts = {use.spot.function for use in ledger.uses if _puts_whole(use)}
    for use in ledger.uses:
        function = use.spot.function
        if function not in opened or function not in puts or use.spot.chain or list(use.given) != ["0"]:
            continue
        if not isinstance(use.spot.node, ast.Call) or use.hidden:
            continue
        told = calls.told_by_keywords(ledger, use) if speaks_of_lora(use.name) else None
        if told is not None and not use.spot.file.is_test:
            yield Dropped(
                use,
                f"`{use.spot.name}` rebuilds trained layers with the defaults of rank and scale",
                (
                    (told.spot, f"`{told.spot.name}` makes the same layers from {', '.join(told.given)}"),
                    (use.spot, "here they are made without, so that the defaults win"),
                    (opened[function].spot, "the factors come from this file"),
                ),
            )


def _is_file(value: Value) -> bool:
    return any(isinstance(o.value, Place) and o.value.made == "state dict" for o in options(value))


def _puts_whole(use: Use) -> bool:
    """Is a whole file given to a module?"""
    last = use.called
    return last in READS_WHOLE or (last == "update" and any(_is_file(value) for value in use.given.values()))
