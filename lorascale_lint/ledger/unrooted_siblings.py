"""Layers of one configuration, of which one kind asks its flag for rsLoRA and another one never does."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.applications import Application, applications
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import HALF, powers_of
from lorascale_lint.ledger.spots import Spot


@immutable(frozen=True, slots=True, eq=False)
class UnrootedSibling:
    """``spot`` divides alpha by the rank in any case; ``rooted`` by its root, where ``flag`` says so."""

    spot: Spot
    rooted: Spot
    flag: str

    @property
    def message(self) -> str:
        """What is wrong."""
        return f"`{self.spot.name}` divides alpha by the rank, whatever `{self.flag}` says"

    @property
    def steps(self) -> tuple[tuple[Spot, str], ...]:
        """How it comes about."""
        return (
            (self.rooted, f"with the same alpha and rank, this asks `{self.flag}`"),
            (self.spot, "and this kind of layer never does"),
        )


def unrooted_siblings(ledger: Ledger) -> Iterator[UnrootedSibling]:
    """Each application of a class without the flag, beside one that has the same alpha and rank."""
    known = [a for a in applications(ledger) if a.spot.cls and not a.reasons and not a.spot.file.is_test]
    asking = [(item, flag) for item in known if (flag := _flag(item))]
    for item in known if asking else ():
        cls = item.spot.cls
        powers = [powers_of(branch.scale) for branch in item.branches]
        if cls is None or not all(p.is_trained and p.below != HALF for p in powers):
            continue
        text = "".join(base.file.text(base.node) for base in ledger.lineage(cls))
        if speaks_of_rslora(text):
            continue
        for rooted, flag in asking:
            owner = flag.rpartition(".")[0].removeprefix("self.")
            same = rooted.spot.file is item.spot.file and rooted.spot.cls not in ledger.lineage(cls)
            if same and owner in text and _numbers(rooted) == _numbers(item):
                yield UnrootedSibling(item.spot, rooted.spot, flag)
                break


def _flag(item: Application) -> str:
    """``self.cfg.use_rslora`` where the root is taken if a field of a configuration says so."""
    rooted = [branch for branch in item.branches if powers_of(branch.scale).below == HALF]
    plain = [branch for branch in item.branches if powers_of(branch.scale).below != HALF]
    atoms = [atom for branch in rooted for atom, _ in branch.guards]
    flags = [atom.partition("@")[0].removeprefix("not ") for atom in atoms if speaks_of_rslora(atom)]
    owned = [
        flag for flag in flags if "." in flag.removeprefix("self.") and flag.replace(".", "").isidentifier()
    ]
    return owned[0] if plain and owned else ""


def _numbers(item: Application) -> set[str]:
    """Where alpha and rank come from."""
    return {
        symbol.origin.removeprefix("self.")
        for branch in item.branches
        for symbol, _ in branch.scale.powers
        if symbol.role in (ALPHA, RANK)
    }
