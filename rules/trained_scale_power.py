"""LS121: alpha and the rank arrive at the delta with powers that no training uses."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, RANK, SCALING
from lorascale_lint.ledger.applications import Application, Branch, applications
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.families import families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.ledger.unread_alphas import unread_alpha, without_alpha
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Multiplied
from lorascale_lint.rule import Rule

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


class TrainedScalePower(Rule):
    """Alpha or rank with the wrong power in an effective scale

    ## What it finds

    A merge, forward or unmerge whose scale holds alpha / rank twice, divides by the rank once too often, or
    divides by the rank and leaves alpha out, which the layer keeps or the function has for nothing; there
    also a delta that is given back and a factor that is kept. It is added up along the whole way from the
    factors to the base: in the half product and again behind it, in a helper and in its caller, in a stored
    scaling and beside it.

    ## Why it is wrong

    A LoRA is trained with alpha / rank, or with alpha / sqrt(rank) under rsLoRA. Any other power is another
    strength for every rank.

    ## Effect

    128x too weak for a rank of 128 that divides twice.

    ## Bad

    ```python
    class GatedLora:
        def __init__(self, base, lora_down, lora_up, alpha, rank):
            self.base = base
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.rank = rank
            self.scaling = alpha / rank

        def forward(self, x):
            middle = self.lora_down(x) * self.scaling
            return self.base(x) + self.lora_up(middle) * self.scaling
    ```

    ## Good

    ```python
    class GatedLora:
        def __init__(self, base, lora_down, lora_up, alpha, rank):
            self.base = base
            self.lora_down = lora_down
            self.lora_up = lora_up
            self.rank = rank
            self.scaling = alpha / rank

        def forward(self, x):
            middle = self.lora_down(x)
            return self.base(x) + self.lora_up(middle) * self.scaling
    ```

    ## Fix safety

    No fix: which of the factors has to go is for whoever knows the other paths.

    ## Limits

    Silent where a number on the way is not known. Where one branch has a trained scale, the other is
    reported for what it has too much only, and with `--preview` only unless one number, or what was loaded,
    brings it. A learned gate between the factors is no scale.

    ## References

    - Guitaricet/my_pefty_llama: the output is divided by the rank, and multiplied by alpha / rank
    - KohakuBlueleaf/LyCORIS: GLoRA's bypass multiplies the half product and the output
    """

    code = "LS121"
    name = "trained-scale-power"
    fix = "none"
    yields_to = ("LS106", "LS107", "LS111", "LS114", "LS118")

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Applications without a trained scale, or with a branch that has one too often."""
        for application in applications(ledger):
            found = _wrong(application)
            if found is None or (found[1] == UNUSED and not _has_alpha(ledger, application)):
                continue
            branch, why, alone = found
            scale = branch.scale
            yield self.at(
                next((step.spot for step in reversed(branch.steps) if _brings(step)), application.spot),
                f"effective scale {scale.formula()} in `{application.spot.name}`: {why}",
                confidence="high" if alone or _is_sure(branch) else "medium",
                effect=effect_of(scale, _intended(scale)),
                trace=[
                    (application.spot, f"here the delta arrives at scale {scale.formula()}{_state(branch)}")
                ],
            )
        seen: set[int] = set()
        for spot, scale, unread in without_alpha(ledger):
            if id(spot.node) in seen or spot.file.is_test:
                continue
            seen.add(id(spot.node))
            yield self.at(
                spot,
                f"effective scale {scale.formula()} in `{spot.name}`: the rank divides, and `{unread.name}` "
                "is had for nothing",
                effect=effect_of(scale, _intended(scale)),
                trace=[(unread.spot, f"`{unread.name}` comes in here, and nothing reads it")],
            )


def _wrong(application: Application) -> tuple[Branch, str, bool] | None:
    """The first branch that is wrong, why, and whether all are; beside right ones it has a part too often."""
    if any(branch.reasons for branch in application.branches):
        return None
    found = [(branch, _excess(branch)) for branch in application.branches]
    wrong = [(branch, why) for branch, why in found if why is not None]
    alone = len(wrong) == len(found)
    if not alone:
        wrong = [(branch, why) for branch, why in wrong if why != UNUSED]
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
    names = [
        name.removeprefix("after ") for name, holds in branch.guards if holds and name.startswith("after ")
    ]
    return "".join(f", once `{name}` has run" for name in names[:1])


def _is_sure(branch: Branch) -> bool:
    """Is it one number that is wrong, or a method that has put the scale into the factors before?

    Numbers of several statements may belong to conditions that never hold together.
    """
    numbers = [step.scale for step in branch.steps if _brings(step)]
    return len(numbers) == 1 or any(name.startswith("after ") and holds for name, holds in branch.guards)


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


def _intended(scale: Scale) -> Scale:
    kept = tuple(item for item in scale.powers if item[0].role not in (ALPHA, RANK, SCALING))
    return Scale(scale.coefficient, kept) * Scale.of(ALPHA) * Scale.of(RANK, exponent=-1)
