"""Rules of one house, for lorascale-lint."""

from collections.abc import Iterator

from lorascale_lint import Finding, Rule


class MergeElsewhere(Rule):
    """Merge outside of `merge_delta`

    ## What it finds

    A function other than `merge_delta` that adds a delta to a weight.

    ## Why it is wrong

    In this house one function merges, so that one place knows the scale.
    """

    code = "HOUSE001"
    name = "merge-elsewhere"

    def check(self, model) -> Iterator[Finding]:
        """Read the applications that the analysis found; `lorascale-lint map` prints them."""
        for application in model.applications:
            function = application.function
            if application.kind == "merge" and function.facts.name != "merge_delta":
                message = f"`{function.facts.name}` merges a delta itself"
                yield self.finding(
                    model, function.filename, application.loc, message, event=application.event
                )
