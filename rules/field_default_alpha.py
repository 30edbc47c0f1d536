"""LS210: the field that holds a module's alpha starts as a number, and is divided by the rank."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.records import records_out_of_sight, start_of
from lorascale_lint.ledger.stand_ins import divided_stand_ins
from lorascale_lint.rule import Rule


class FieldDefaultAlpha(Rule):
    """Alpha field that starts as a constant instead of the rank

    ## What it finds

    A record of one module's tensors (a dataclass, a plain class or a dictionary) whose factors start as
    None and whose alpha starts as a number. A loader fills the fields by the keys of a file, and alpha is
    divided by the rank of the factors.

    ## Why it is wrong

    A file without alpha keys leaves the number there. Its factors apply as they are, with alpha equal to
    the rank of each module; a constant makes the scale constant / rank.

    ## Effect

    Effective scale 1 / rank instead of 1 for files without alpha: 128x too weak for rank=128.

    ## Bad

    ```python
    from dataclasses import dataclass

    import torch


    @dataclass
    class LoraBlock:
        name: str
        up: torch.Tensor = None
        down: torch.Tensor = None
        alpha: float = 1.0

        def delta(self):
            return (self.up @ self.down) * (self.alpha / self.down.shape[0])


    def load_lora(state_dict):
        blocks = {}
        for key, value in state_dict.items():
            name, part = key.rsplit(".", 1)
            block = blocks.setdefault(name, LoraBlock(name))
            setattr(block, part, value)
        return blocks
    ```

    ## Good

    ```python
    from dataclasses import dataclass

    import torch


    @dataclass
    class LoraBlock:
        name: str
        up: torch.Tensor = None
        down: torch.Tensor = None
        alpha: float | None = None

        def delta(self):
            rank = self.down.shape[0]
            alpha = rank if self.alpha is None else self.alpha
            return (self.up @ self.down) * (alpha / rank)


    def load_lora(state_dict):
        blocks = {}
        for key, value in state_dict.items():
            name, part = key.rsplit(".", 1)
            block = blocks.setdefault(name, LoraBlock(name))
            setattr(block, part, value)
        return blocks
    ```

    ## Fix safety

    No fix is offered, because it changes what files without alpha do. Start with None, and take the rank
    of the module's own factor where it is still None.

    ## Limits

    The record, what fills it and the division must be in one file. Silent if alpha is also set without
    a test for its key. A record that was put into a table is known by its fields, if one class of the file
    has them.

    ## References

    - easydiffusion/sdkit `lora.py`
    """

    code = "LS210"
    name = "field-default-alpha"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each record."""
        known = ((found, start_of(ledger, found)) for found in ledger.once(divided_stand_ins))
        for found, start in (*known, *records_out_of_sight(ledger)):
            if start is None or found.spot.file.is_test:
                continue
            name, value = start.name, f"{found.number:g}"
            yield self.at(
                found.spot,
                f"`{name}` starts as {value}, and not as the rank of the module's own factors",
                effect=f"effective scale {value} / rank instead of 1 for a file without alpha",
                trace=[
                    (found.spot, f"a file without alpha leaves `{name}` at {value}"),
                    (start.filled, "the fields are set for the keys that the file has"),
                    (found.used.spot, "and alpha is divided by the rank"),
                ],
            )
