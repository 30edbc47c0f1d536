"""Applications at which a part of the trained scale arrives too often, or is missing."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK, SCALING, A, B, role_of
from lorascale_lint.ledger.applications import Application, Branch, applications
from lorascale_lint.ledger.families import families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.made_deltas import made_deltas
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.unread_alphas import unread_alpha
from lorascale_lint.provenance.marks import AFTER
from lorascale_lint.provenance.scale import ONE as BARE, TRAINED, Scale
from lorascale_lint.provenance.values import Multiplied

HALF = Fraction(1, 2)
UNUSED = "the rank divides, and the alpha that is kept does not multiply"
ONE, TWO = Fraction(1), Fraction(2)
TOO_OFTEN = {
    (ONE, TWO): "the rank divides twice",
    (ONE, ONE + HALF): "the rank divides one and a half times",
    (TWO, TWO): "the trained scale multiplies twice",
    (TWO, ONE + HALF): "the trained scale multiplies twice",
    (Fraction(0), ONE): UNUSED,
    (Fraction(0), HALF): UNUSED,
}
"""Powers of alpha above and of the rank below; alpha / rank and alpha / sqrt(rank) are the trained ones.

Alpha squared over the rank is none of them: the second alpha is as often what a user gives.
"""


@immutable(frozen=True, slots=True)
class Excess:
    """What is wrong with the scale of an application, and whether the code shows it."""

    application: Application
    scale: Scale
    why: str
    brought: Spot
    """Where the last part of it comes in."""
    state: str
    """Which method must have run before, as words behind a sentence."""
    is_sure: bool


def excesses(ledger: Ledger) -> Iterator[Excess]:
    """Applications without a trained scale, or with a branch that has one too often."""
    for application in (*applications(ledger), *made_deltas(ledger)):
        found = _wrong(ledger, application)
        if found is None or (found[1] == UNUSED and not _has_alpha(ledger, application)):
            continue
        branch, why, alone = found
        brought = next((step.spot for step in reversed(branch.steps) if _brings(step)), application.spot)
        yield Excess(application, branch.scale, why, brought, _state(branch), alone or _is_sure(branch))


def intended(scale: Scale) -> Scale:
    """The trained scale with what else multiplies."""
    kept = tuple(item for item in scale.powers if item[0].role not in (ALPHA, RANK, SCALING))
    return Scale(scale.coefficient, kept) * TRAINED


def _wrong(ledger: Ledger, application: Application) -> tuple[Branch, str, bool] | None:
    """The first branch that is wrong, why, and whether all are; beside right ones it has a part too often."""
    if any(branch.reasons for branch in application.branches):
        return None
    found = [(branch, _excess(branch)) for branch in application.branches if not branch.scale.is_left]
    wrong = [(branch, why) for branch, why in found if why is not None]
    alone = len(wrong) == len(found)
    if not alone:
        wrong = [(b, why) for b, why in wrong if why != UNUSED and not _is_of_others(ledger, application, b)]
        # Numbers of several statements would leave a way with one of them.
        alone = all(why is not None or branch.scale == BARE for branch, why in found)
    return (*wrong[0], alone) if wrong else None


def _excess(branch: Branch) -> str | None:
    """Which part of the trained scale is there too often, or missing."""
    powers = {symbol.role: power for symbol, power in branch.scale.by_role().powers}
    scaling = powers.get(SCALING, Fraction(0))
    alpha, rank = powers.get(ALPHA, Fraction(0)) + scaling, scaling - powers.get(RANK, Fraction(0))
    if scaling and powers.get(ALPHA) and not powers.get(RANK):
        return None  # an alpha beside a whole scale is what a user gives
    if scaling and powers.get(RANK) and not powers.get(ALPHA):
        return None  # only its name makes the number a whole scale: over the rank, it was an alpha
    if not alpha and branch.scale.coefficient != 1:
        return None  # a literal alpha
    return TOO_OFTEN.get((alpha, rank))


def _state(branch: Branch) -> str:
    """Which methods must have run before."""
    return "".join(f", once `{name}` has run" for name in _ran(branch)[:1])


def _ran(branch: Branch) -> list[str]:
    return [name.removeprefix(AFTER) for name, holds in branch.guards if holds and name.startswith(AFTER)]


def _is_of_others(ledger: Ledger, application: Application, branch: Branch) -> bool:
    """Must a method have run that keeps a scale beside factors of its own, and none of these?

    ``update_layer_embedding()``, which a linear layer inherits: nobody calls it on one.
    """
    field = application.factors.rpartition(".")[2]
    cls = application.spot.cls
    line = [] if cls is None or not field else ledger.lineage(cls)
    for name in _ran(branch):
        methods = [own.methods.get(name.removesuffix("()")) for own in line]
        used = {part for method in methods if method is not None for part in method.attributes_read}
        if field not in used and any(role_of(part, True) in (A, B) for part in used):
            return True
    return False


def _is_sure(branch: Branch) -> bool:
    """Is it one number that is wrong, or a method that has put the scale into the factors before?

    Numbers of several statements may belong to conditions that never hold together.
    """
    numbers = [step.scale for step in branch.steps if _brings(step)]
    return len(numbers) == 1 or bool(_ran(branch))


def _brings(step: Multiplied) -> bool:
    """Does the number hold a part of the trained scale?"""
    found = powers_of(step.scale)
    return bool(found.alpha or found.below or found.scaling)


def _has_alpha(ledger: Ledger, application: Application) -> bool:
    """Does the class that holds the factors keep an alpha that it is given, or the function have one?"""
    if unread_alpha(ledger, application.spot.function) is not None:
        return True
    for family in families(ledger):
        if application in family.holders:
            alpha = family.field(ALPHA)
            return alpha is not None and alpha.is_trained
    return False
