"""LS318: a converter writes A under the name of B, and B under that of A."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.exchanged import exchanged
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule


class FactorsExchanged(Rule):
    """Factors that are written under each other's names

    ## What it finds

    A converter or exporter that writes the factor A of a file (`lora_A`, `lora_down`, rank x in) under a name
    of B (`lora_B`, `lora_up`), and B under one of A, as they are: neither of them is transposed.

    ## Why it is wrong

    Readers take the rank from the first extent of what is called A or down: there they find the size of the
    layer. The scale alpha / rank is too weak by the layer's size over the rank, and so is an alpha that is
    made of it; the product of the two has another shape, or none at all.

    ## Effect

    256x too weak for a layer of 4096 outputs and rank 16, where the shapes let it pass.

    ## Bad

    ```python
    from safetensors.torch import load_file, save_file

    NAMES = {"lora_A.weight": "lora_up.weight", "lora_B.weight": "lora_down.weight", "alpha": "alpha"}


    def convert(source, target):
        out = {}
        for key, tensor in load_file(source).items():
            for old, new in NAMES.items():
                if key.endswith("." + old):
                    module = key.removesuffix("." + old).replace(".", "_")
                    out[f"lora_unet_{module}.{new}"] = tensor
        save_file(out, target)
    ```

    ## Good

    ```python
    from safetensors.torch import load_file, save_file

    NAMES = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight", "alpha": "alpha"}


    def convert(source, target):
        out = {}
        for key, tensor in load_file(source).items():
            for old, new in NAMES.items():
                if key.endswith("." + old):
                    module = key.removesuffix("." + old).replace(".", "_")
                    out[f"lora_unet_{module}.{new}"] = tensor
        save_file(out, target)
    ```

    ## Fix safety

    No fix: the names may stand in a table, in two tables or in a call, and which of the two sides is meant is
    not in the code.

    ## Limits

    The function is tried on a file with the keys of the conventions that its code names. Names that say
    nothing by themselves are left alone.

    ## References

    - peft `tuners/lora/layer.py`, sd-scripts `networks/lora.py`: A, or down, is rank x in, and B out x rank
    """

    code = "LS318"
    name = "factors-exchanged"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Functions tried on a file that give each factor the name of the other."""
        for output in exchanged(ledger):
            yield self.at(
                output.down.spot,
                f"`{output.down.spot.name}` writes each factor under the other's name",
                effect="readers take the layer's size for the rank",
                trace=[
                    (output.down.spot, "A, which is rank x in, is written under a name of B"),
                    (output.up.spot, "and B, which is out x rank, under one of A"),
                ],
            )
