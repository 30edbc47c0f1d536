"""LS246: alpha or the rank is text where a number is needed."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.text_numbers import text_numbers
from lorascale_lint.rule import Rule


class AlphaIsText(Rule):
    """Alpha or rank that is text where a number is needed

    ## What it finds

    An alpha or a rank out of the metadata of a safetensors file, the environment or `sys.argv` that is
    divided, or compared with a number, without `float` or `int` on the way; also where the function that is
    given it divides. With `--preview` an option of argparse without a `type`.

    ## Why it is wrong

    The values there are always text. A text is never equal to a number, so that a comparison takes the
    wrong branch without a word; a division fails where somebody gives the value, and not with a default.

    ## Effect

    `"32" == 32` is false: the branch for alpha = rank is never taken. A division raises TypeError.

    ## Bad

    ```python
    from safetensors import safe_open


    def scale_of(path, lora_A):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        return metadata["lora_alpha"] / lora_A.shape[0]
    ```

    ## Good

    ```python
    from safetensors import safe_open


    def scale_of(path, lora_A):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        return float(metadata["lora_alpha"]) / lora_A.shape[0]
    ```

    ## Fix safety

    No fix. Write `float(...)` around what is read; a file of kohya may say `None` or `Dynamic` there, which
    is no number.

    ## Limits

    Text that goes through anything but `float` and `int` is not followed. Silent where an option is
    declared twice, once with a type.

    ## References

    - safetensors: `metadata` is a table of texts
    """

    code = "LS246"
    name = "alpha-is-text"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Divisions and comparisons of text, and calls that lead to one."""
        for found in text_numbers(ledger):
            there = [] if found.divided is found.spot else [(found.divided, "and is divided here as it is")]
            declared = [] if found.option is None else [(found.option, "the option has no type")]
            verb = "compared with a number" if found.how == "compared" else "divided"
            yield self.at(
                found.spot,
                f"`{found.spot.written}` is {verb} and may be text: no `float` has made a number of it",
                confidence="high" if found.option is None else "medium",
                effect="never equal" if found.how == "compared" else "TypeError where it is given",
                trace=[*declared, (found.spot, f"this is `{found.path}`, which is text"), *there],
            )
