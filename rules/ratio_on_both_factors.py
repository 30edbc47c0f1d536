"""LS114: a merge multiplies both factors by the user's ratio."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.applications import Step
from lorascale_lint.model.factor_ratios import squared_ratios
from lorascale_lint.model.scaled_files import scaled_files
from lorascale_lint.model.scaled_pairs import scaled_pairs
from lorascale_lint.rule import Rule


class RatioOnBothFactors(Rule):
    """Merge ratio multiplied onto both factors

    ## What it finds

    A user's ratio or strength, or alpha / rank, that is multiplied onto factor A and onto factor B of the
    same delta: in a product of both, where both are stored, or entry by entry over a whole adapter file.

    ## Why it is wrong

    The delta is the product of both factors, so it holds the square of the ratio, and a negative ratio
    loses its sign. Multiply one factor by it, or both by its square root.

    ## Effect

    Ratio 0.5 merges 0.25 of the adapter; -1.0 merges it forwards, unless one side takes the absolute value.

    ## Bad

    ```python
    def merge_lora(weight, lora_up, lora_down, ratio):
        up = lora_up * ratio
        down = lora_down * ratio
        return weight + up @ down
    ```

    ## Good

    ```python
    def merge_lora(weight, lora_up, lora_down, ratio):
        up = lora_up * ratio
        return weight + up @ lora_down
    ```

    ## Fix safety

    No fix: people may have got used to the squared ratios, and which factor takes a negative one is a choice.
    Multiply one factor by the ratio, or both by the root of its absolute value and one by its sign.

    ## Limits

    Over a whole file a strength counts by its name, another number if it is shown to be one (a default, an
    annotation, a caller) and no caller gives a root or the rest of another one; so does alpha / rank, which
    converters fold in. A condition that may tell the keys of one factor from the other's, and an average of
    checkpoints whose ratios sum to 1, are silent.

    ## References

    - kohya-ss/sd-scripts, `merge_lora.py`, issues 586 and 868
    - cloneofsimo/lora, `monkeypatch_add_lora`
    - LukeCoulson1/Comfyui_LoraCombine, `_fallback_linear_merge`
    """

    code = "LS114"
    name = "ratio-on-both-factors"

    def check(self, model: Model) -> Iterator[Finding]:
        """One finding for each place where both factors carry the ratio."""
        seen: set[tuple[str, int]] = set()
        for found in (*squared_ratios(model), *scaled_files(model), *scaled_pairs(model)):
            function = found.function
            if (function.filename, found.loc.row) in seen:
                continue
            seen.add((function.filename, found.loc.row))
            steps: list[Step] = []
            if found.entry is not None:
                steps.append((function.filename, found.entry, "an entry of the file, under any of its keys"))
            steps.append((function.filename, found.first, f"`{found.ratio}` is multiplied on here"))
            if found.second != found.first:
                steps.append((function.filename, found.second, "and onto the other factor here"))
            else:
                steps.append((function.filename, found.event.loc, "for the keys of both factors alike"))
            if found.linear is not None:
                other, loc = found.linear
                steps.append((other.filename, loc, f"`{other.facts.name}` gives the delta the ratio once"))
            yield self.finding(
                model,
                function.filename,
                found.loc,
                f"`{function.facts.qualname}` multiplies both factors by `{found.ratio}`, so the delta by "
                "its square",
                event=found.event,
                effect="ratio 0.5 merges 0.25 of the adapter",
                trace=steps,
            )
