"""The option that switches rsLoRA on, on its way from who sets it to the scale."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.intent import LOGS, on_purpose
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.entries import KeyWrite, Quotient, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import quotient_scales, symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Const, Place, Value, options

_NO_BODY = ("abstractmethod", "overload")


@immutable(frozen=True, slots=True, eq=False)
class LostFlag:
    """``function`` has ``flag`` and what happens at ``spot`` does not depend on it.

    ``quotient`` is where alpha is divided whatever the flag says; ``taken`` the callee and its parameter
    that the call at ``spot`` leaves at the default; ``giver`` the call that gave a flag which was swallowed.
    """

    function: FunctionInfo
    flag: str
    spot: Spot
    quotient: Spot | None = None
    taken: tuple[FunctionInfo, str] | None = None
    giver: Use | None = None


class Flags:
    """Functions that are told to use rsLoRA, and what they do with it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._quotients: dict[FunctionInfo, Quotient] = {}
        for quotient in ledger.quotients:
            function = quotient.spot.function
            if function is not None and any(
                {(s.role, power) for s, power in scale.powers} >= {(ALPHA, Fraction(1)), (RANK, Fraction(-1))}
                for scale, _ in quotient_scales(quotient)
            ):
                self._quotients.setdefault(function, quotient)
        self._kept = {(cls, name) for cls, name in ledger.fields_read if speaks_of_rslora(name)} | {
            (_class(store.spot), store.field) for store in ledger.stores if speaks_of_rslora(store.field)
        }

    def lost(self) -> Iterator[LostFlag]:
        """Each flag that ends somewhere, once for its function."""
        seen: set[FunctionInfo] = set()
        for found in (*self._unread(), *self._not_passed(), *self._handed_on(), *self._swallowed()):
            if found.function not in seen and not found.spot.file.is_test:
                seen.add(found.function)
                yield found

    def _unread(self) -> Iterator[LostFlag]:
        """Nothing reads the flag, and alpha is divided by the rank beside it."""
        for function, quotient in self._quotients.items():
            flag = flag_of(function)
            if flag and flag not in function.names_read and not function.has(*_NO_BODY):
                declared = replace(quotient.spot, node=function.argument(flag) or function.node)
                yield LostFlag(function, flag, declared, quotient=quotient.spot)

    def _not_passed(self) -> Iterator[LostFlag]:
        """Alpha and rank go to a function that takes the flag, from one that has it and does not give it."""
        passed = {use.spot.function for use in self.ledger.uses if _mentions_flag(use)}
        for use in self.ledger.uses:
            function, target = use.spot.function, use.callee
            if function is None or not isinstance(target, FunctionInfo) or function in passed:
                continue
            flag, taken = flag_of(function), flag_of(target)
            if not flag or not taken or taken in use.given or taken not in target.names_read:
                continue
            default = target.default(taken)
            if not isinstance(default, ast.Constant) or default.value or _spreads(use):
                continue
            if not {ALPHA, RANK} <= {role_of(name, True) for name in use.given} or self._keeps(function):
                continue
            if not any(speaks_of_rslora(atom) for atom, _ in use.guards):
                yield LostFlag(function, flag, use.spot, taken=(target, taken))

    def _handed_on(self) -> Iterator[LostFlag]:
        """Nothing reads the flag, while alpha and the rank that are taken beside it go on."""
        tables: dict[object, list[KeyWrite]] = defaultdict(list)
        for write in self.ledger.writes:
            if not write.spot.chain:
                tables[write.container, write.spot.function].append(write)
        given = [(use.spot, list(use.given.values())) for use in self.ledger.uses if not _spreads(use)]
        given = [(spot, values) for spot, values in given if not _logs(spot)]
        given += [(found[0].spot, [write.value for write in found]) for found in tables.values()]
        for spot, values in given:
            function = spot.function
            flag = flag_of(function) if function is not None else ""
            if function is None or not flag or flag in function.names_read or self._keeps(function):
                continue
            if set(function.decorators) - {"staticmethod", "classmethod"} or is_announced(function, flag):
                continue
            if {ALPHA, RANK} <= {_own_role(value, function) for value in values}:
                yield LostFlag(function, flag, replace(spot, node=function.argument(flag) or spot.node))

    def _swallowed(self) -> Iterator[LostFlag]:
        """The flag goes into ``**kwargs`` of a function that divides alpha by the rank itself."""
        for use in self.ledger.uses:
            target = use.callee
            flag = next((name for name in use.given if speaks_of_rslora(name)), "")
            if not flag or isinstance(use.given[flag], Const) or not isinstance(target, FunctionInfo):
                continue
            extra, quotient = target.node.args.kwarg, self._quotients.get(target)
            if extra is None or quotient is None or extra.arg in target.names_read:
                continue
            if not speaks_of_rslora(target.file.text(target.node)):
                yield LostFlag(target, flag, quotient.spot, giver=use)

    def _keeps(self, function: FunctionInfo) -> bool:
        """Does the class know the flag from elsewhere?"""
        return any(cls == (function.owner.key if function.owner else None) for cls, _ in self._kept)


def flag_of(function: FunctionInfo) -> str:
    """The parameter by which the function is told to use rsLoRA; empty if there is none."""
    return next((name for name in function.parameters if speaks_of_rslora(name)), "")


def is_announced(function: FunctionInfo, name: str) -> bool:
    """Does the text of the function say, beside the name, that it is left out on purpose?"""
    rows = function.file.text(function.node).splitlines()
    return any(on_purpose(" ".join(rows[at : at + 3])) for at, row in enumerate(rows) if name in row)


def _class(spot: Spot) -> str:
    return spot.cls.key if spot.cls is not None else ""


def _spreads(use: Use) -> bool:
    return use.hidden


def _logs(spot: Spot) -> bool:
    node = spot.node
    name = node.func if isinstance(node, ast.Call) else None
    return getattr(name, "attr", getattr(name, "id", "")) in LOGS


def _mentions_flag(use: Use) -> bool:
    """Is the flag given, under its name or another, to what is no log?"""
    if _logs(use.spot):
        return False
    return any(speaks_of_rslora(name) for name in use.given) or any(
        isinstance(option.value, Place) and speaks_of_rslora(option.value.path)
        for value in use.given.values()
        for option in options(value)
    )


def _own_role(value: Value, function: FunctionInfo) -> str | None:
    """Role of a parameter of the function that is handed on as it is."""
    for option in options(value):
        symbol = symbol_of(option.value)
        if symbol is not None and symbol.origin.partition("=")[0] in function.parameters:
            return symbol.role
    return None
