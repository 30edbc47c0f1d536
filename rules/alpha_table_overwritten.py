"""LS209: in a loop over modules the whole table of alphas is replaced by one number."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.overwritten_tables import overwritten_tables
from lorascale_lint.rule import Rule


class AlphaTableOverwritten(Rule):
    """Table of alphas replaced by one number in a loop

    ## What it finds

    A dictionary of alphas by module, and a loop that gives modules without an entry their rank, but binds
    the name of the dictionary to that number: `modules_alpha = rank` for `modules_alpha[name] = rank`.

    ## Why it is wrong

    The first module without an alpha throws away the alphas of all the others; what reads the table
    afterwards gets a number, and either fails or scales every module alike.

    ## Effect

    The trained scale alpha / rank of every module is lost as soon as one module has no alpha.

    ## Bad

    ```python
    def create_lora_network(weights):
        modules_dim = {}
        modules_alpha = {}
        for key, value in weights.items():
            name = key.split(".")[0]
            if "alpha" in key:
                modules_alpha[name] = value
            elif "lora_down" in key:
                modules_dim[name] = value.size()[0]
        for name in modules_dim:
            if name not in modules_alpha:
                modules_alpha = modules_dim[name]
        return LoRANetwork(modules_dim=modules_dim, modules_alpha=modules_alpha)
    ```

    ## Good

    ```python
    def create_lora_network(weights):
        modules_dim = {}
        modules_alpha = {}
        for key, value in weights.items():
            name = key.split(".")[0]
            if "alpha" in key:
                modules_alpha[name] = value
            elif "lora_down" in key:
                modules_dim[name] = value.size()[0]
        for name in modules_dim:
            if name not in modules_alpha:
                modules_alpha[name] = modules_dim[name]
        return LoRANetwork(modules_dim=modules_dim, modules_alpha=modules_alpha)
    ```

    ## Fix safety

    Safe: a missing alpha means the rank, and where the table became a number, the next look into it failed
    or lost every other alpha. No fix where the question about the module is not the branch around it.

    ## Limits

    Found only where the function itself makes the dictionary, fills or asks it by module, and rebinds it
    under a question about the module at hand. A name that deliberately becomes something else (another
    dictionary, a list, the result of an unknown call) is not reported.

    ## References

    - kohya-ss/sd-scripts, `create_network_from_weights`, repaired in f7a1868f
    """

    code = "LS209"
    name = "alpha-table-overwritten"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Names of dictionaries of alphas that become a number, under a question about one of their keys."""
        for found in overwritten_tables(ledger):
            name = found.name
            from lorascale_lint.codemods.write_entry import write_entry

            yield self.at(
                found.replaced,
                f"`{name}` is the table of all alphas, and is replaced by one number",
                effect="the alpha of every other module is lost as soon as one module has none",
                trace=[
                    (found.made, f"`{name}` is made as a table, alpha by module"),
                    (found.filled, "and filled for one module after the other"),
                    (
                        found.replaced,
                        f"a module without an entry replaces it; `{name}[...]` was meant",
                    ),
                ],
                fix=write_entry(ledger.read_source, found.replaced, name),
            )
