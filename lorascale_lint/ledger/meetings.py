"""Where alpha and rank of one configuration come together."""

from __future__ import annotations

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.entries import KeyRead
from lorascale_lint.ledger.spots import Spot


@immutable(frozen=True, slots=True, eq=False)
class Meeting:
    """Alpha and rank of one configuration are divided at ``spot``, or both given to ``told`` there.

    Without a rank, its alpha is written there into a file whose readers divide it.
    """

    path: str
    alpha: KeyRead
    rank: KeyRead | None
    spot: Spot
    told: str = ""
    flagged: bool = False
    """Is what gets both told whether it is rsLoRA?"""

    @property
    def spots(self) -> tuple[Spot, ...]:
        """Where the two numbers are read and where they meet."""
        return self.alpha.spot, self.spot, *((self.rank.spot,) if self.rank is not None else ())
