"""Rules of one house, for lorascale-lint."""

from collections.abc import Iterator

from lorascale_lint import Finding
from lorascale_lint.ledger.applications import applications
from lorascale_lint.rule import Rule


class MergeElsewhere(Rule):
    """Merge outside of `merge_delta`

    ## What it finds

    A function other than `merge_delta` that adds a delta to a weight.

    ## Why it is wrong

    In this house one function merges, so that one place knows the scale.
    """

    code = "HOUSE001"
    name = "merge-elsewhere"

    def examine(self, ledger) -> Iterator[Finding]:
        """Read the applications that the analysis found; `lorascale-lint map` prints them."""
        for application in applications(ledger):
            spot = application.spot
            if application.kind == "merge" and spot.name != "merge_delta":
                yield self.at(spot, f"`{spot.name}` merges a delta itself")
