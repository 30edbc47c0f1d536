"""Flags for rsLoRA that are saved with an adapter, and are not given to what makes its layers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import FLAG_FIELD
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_at_default import constructor
from lorascale_lint.ledger.numbers import number_origins, quotient_scales
from lorascale_lint.ledger.origins import owner_of
from lorascale_lint.ledger.powers import HALF, powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import literal_of
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Place, options


@immutable(frozen=True, slots=True, eq=False)
class SavedFlag:
    """``written`` saves the flag of settings; ``spot`` makes layers of them and leaves ``parameter`` out."""

    spot: Spot
    called: str
    parameter: str
    written: KeyWrite
    rooted: Spot

    @property
    def message(self) -> str:
        """What is wrong."""
        return f"`{self.called}` is not given `{self.parameter}`, which is saved as `{FLAG_FIELD}`"

    @property
    def steps(self) -> tuple[tuple[Spot, str], ...]:
        """How it comes about."""
        return (
            (self.written.spot, "the file says whether it is rsLoRA, by the same settings"),
            (self.rooted, f"`{self.parameter}` decides about the root of the rank"),
            (self.spot, "alpha and rank of the settings are given here, and the flag is not"),
        )


def saved_flags(ledger: Ledger) -> Iterator[SavedFlag]:
    """Each call that makes layers without the flag, once."""
    written = {
        owner_of(option.value.path): write
        for write in ledger.writes
        if literal_of(write.key) == FLAG_FIELD
        for option in options(write.value)
        if isinstance(option.value, Place) and owner_of(option.value.path)
    }
    known = _flags(ledger) if written else {}
    seen: set[object] = set()
    for use in ledger.uses if known else ():
        target = constructor(ledger, use.callee) if use.callee is not None else None
        if target not in known or target is None or use.hidden or use.spot.file.is_test:
            continue
        flag, rooted = known[target]
        default = target.default(flag)
        left = flag not in use.given and isinstance(default, ast.Constant) and not default.value
        numbers = [v for n, v in use.given.items() if role_of(n, True) in (ALPHA, RANK)]
        owners = {owner_of(origin) for value in numbers for origin in number_origins(value)}
        write = written.get(next(iter(owners))) if len(owners) == 1 and len(numbers) > 1 else None
        if left and write is not None and use.spot.node not in seen:
            seen.add(use.spot.node)
            yield SavedFlag(use.spot, use.called, flag, write, rooted)


def _flags(ledger: Ledger) -> dict[FunctionInfo, tuple[str, Spot]]:
    """The parameter of each function that decides about the root, there or in what it is handed on to."""
    found: dict[FunctionInfo, tuple[str, Spot]] = {}
    for quotient in ledger.quotients:
        function = quotient.spot.function
        for scale, guards in quotient_scales(quotient) if not quotient.spot.chain else ():
            names = {name.partition("@")[0] for name, _ in (*guards, *quotient.guards)}
            flags = names & set(function.parameters) if function is not None else set()
            if function is not None and len(flags) == 1 and powers_of(scale).below == HALF:
                found.setdefault(function, (flags.pop(), quotient.spot))
    for _ in range(2):
        for use in ledger.uses if found else ():
            caller = use.spot.function
            target = constructor(ledger, use.callee) if use.callee is not None else None
            flag, rooted = found.get(target, ("", None)) if target is not None else ("", None)
            given = use.given.get(flag)
            if caller is None or rooted is None or not isinstance(given, Place) or use.spot.chain:
                continue
            if given.path in caller.parameters:
                found.setdefault(caller, (given.path, rooted))
    return found
