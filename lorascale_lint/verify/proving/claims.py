"""What each rule claims of running code: the questions of the harness whose answers would show it.

Rules that are not listed speak of something that no question of the harness asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lorascale_lint.verify.harness.properties import OF_CLASSES, Property
from lorascale_lint.verify.verdicts import Verdict

_WRONG_SCALE = frozenset(
    {
        Verdict.ALPHA_IGNORED,
        Verdict.DOUBLE_SCALED,
        Verdict.INVERTED,
        Verdict.NOT_APPLIED,
        Verdict.RANK_IGNORED,
        Verdict.TRUNCATED,
        Verdict.WRONG_SCALE,
    }
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A question, and which answers to it say that the rule is right.

    `wrong` are verdicts that do. `right` is the scale that is due where the harness gives no verdict, because
    somebody has to know the convention: the rule does. `convention`: so it is with the scale that the row
    itself expects. `refutes`: the right answer contradicts the rule; it
    does not where the error shows on some ways through the code only.
    """

    question: Property
    wrong: frozenset[Verdict] = frozenset()
    right: float | None = None
    convention: bool = False
    refutes: bool = True

    @property
    def whole(self) -> bool:
        """Whether it is asked of a class as a whole, and not of the way that one of its methods takes."""
        return self.question in _OF_CLASSES


# Those, and what is asked of a class that puts adapters into models.
_OF_CLASSES = OF_CLASSES | {Property.PATTERNS, Property.WEIGHTED}


def _where(question: Property, *wrong: Verdict, refutes: bool = False) -> Claim:
    return Claim(question, frozenset(wrong), refutes=refutes)


_SCALE = Claim(Property.SCALE, _WRONG_SCALE)
_SOMETIMES = Claim(Property.SCALE, _WRONG_SCALE, refutes=False)
_MERGED = _where(Property.SAME_DELTA, Verdict.MERGED_DIFFERS)
_FILE = Claim(Property.FILE_ALPHA, convention=True)
_UNMERGED = _where(Property.UNMERGED, Verdict.RESIDUAL_AFTER_UNMERGE, refutes=True)
_STRENGTH = _where(Property.STRENGTH, Verdict.STRENGTH_NOT_LINEAR, refutes=True)
_IGNORED = _where(Property.STRENGTH, Verdict.STRENGTH_IGNORED, refutes=True)
_AGAIN = _where(Property.STRENGTH_AGAIN, Verdict.ACCUMULATES)
_ONE = Claim(Property.STRENGTH_ONE, convention=True, refutes=False)
_PATTERNS = Claim(Property.PATTERNS, convention=True, refutes=False)
_WEIGHTED = Claim(Property.WEIGHTED, convention=True, refutes=False)
_STALE = _where(Property.AGAIN, Verdict.STALE_ALPHA)
_SWITCHED = _where(Property.SWITCHED, Verdict.RESIDUAL_AFTER_SWITCH)
_OWN = _where(Property.OWN_SCALES, Verdict.ONE_SCALE_FOR_ALL)
_SETTER = Claim(Property.SETTER, frozenset({Verdict.STALE_ALPHA}), convention=True)
_SAVED = _where(Property.SAVED, Verdict.LOST_WHEN_SAVED)
_RSLORA = _where(Property.RSLORA, Verdict.RSLORA_IGNORED)
_NO_ALPHA = Claim(Property.MISSING_ALPHA, right=1.0)

CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "LS101": (_SCALE, _MERGED, _FILE),
    "LS102": (_SCALE, _MERGED),
    "LS103": (
        _where(Property.SCALE, Verdict.NOT_LORA_SHAPED),
        _where(Property.MERGED, Verdict.NOT_LORA_SHAPED),
    ),
    "LS105": (_where(Property.SAME_DELTA, Verdict.MERGED_DIFFERS, refutes=True),),
    "LS106": (_SCALE, _STRENGTH),
    "LS107": (Claim(Property.SCALE, _WRONG_SCALE, convention=True),),
    "LS108": (_SCALE, _IGNORED, _MERGED),
    "LS109": (_UNMERGED, _MERGED),
    "LS110": (_where(Property.SCALE, Verdict.BASE_SCALED, refutes=True),),
    "LS111": (_SCALE,),
    "LS112": (_SOMETIMES, _MERGED),
    "LS113": (_SOMETIMES, _MERGED),
    "LS114": (_STRENGTH, _SCALE, _WEIGHTED),
    "LS115": (_where(Property.SCALE, Verdict.NOT_APPLIED), _MERGED),
    "LS116": (_where(Property.UNMERGED, Verdict.RESIDUAL_AFTER_UNMERGE),),
    "LS117": (_IGNORED,),
    "LS118": (_STRENGTH,),
    "LS119": (_SCALE, _MERGED),
    "LS120": (_SCALE,),
    "LS121": (_SOMETIMES, _ONE),
    "LS123": (_MERGED,),
    "LS124": (_STRENGTH,),
    "LS125": (_SOMETIMES, _MERGED, _where(Property.AGAIN, Verdict.ACCUMULATES)),
    "LS126": (_AGAIN, _STRENGTH),
    "LS201": (_NO_ALPHA,),
    "LS202": (_NO_ALPHA,),
    "LS203": (_SETTER, _SOMETIMES, _SWITCHED),
    "LS204": (_SCALE,),
    "LS205": (Claim(Property.ZERO_ALPHA, right=0.0),),
    "LS206": (_SCALE,),
    "LS207": (_NO_ALPHA,),
    "LS208": (_STALE, _SWITCHED, _OWN),
    "LS209": (_OWN,),
    "LS210": (_NO_ALPHA, _SOMETIMES),
    "LS212": (_WEIGHTED,),
    "LS220": (_IGNORED, _AGAIN),
    "LS221": (_UNMERGED,),
    "LS222": (_AGAIN,),
    "LS223": (_ONE,),
    "LS225": (_WEIGHTED,),
    "LS226": (_PATTERNS,),
    "LS301": (_FILE, _SOMETIMES),
    "LS302": (_SCALE, _FILE),
    "LS303": (_SCALE, _FILE),
    "LS306": (_SCALE, _FILE),
    "LS305": (_FILE, _SOMETIMES),
    "LS307": (_OWN,),
    "LS310": (_FILE, _SOMETIMES),
    "LS308": (_SCALE, _FILE),
    "LS312": (_SCALE, _FILE),
    "LS313": (_SAVED,),
    "LS316": (_SCALE, _FILE),
    "LS401": (_RSLORA,),
    "LS407": (_SOMETIMES,),
    "LS409": (_RSLORA,),
    "LS503": (_AGAIN,),
}
