"""LS313: a class saves alpha with its factors and does not read it back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.interfaces import READS_WHOLE, WRITES_TENSORS
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, SCALING, A, B, role_of
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import Look, looks
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import is_real_factor, key_role_of, tables
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.values import Place, Tensor, options
from lorascale_lint.rule import Rule


class SavedAlphaNotLoaded(Rule):
    """Alpha that a class saves with its factors and does not load

    ## What it finds

    A class one method of which writes factors and their alpha into a file, and another of which reads the
    factors of such a file into its layers and leaves alpha where it is.

    ## Why it is wrong

    The layers go on with the alpha that this run was started with. A file that was trained with another one
    resumes, or is used, at a wrong strength, and is then saved with an alpha that it was not trained with.

    ## Effect

    2.00x too strong if the file has alpha 16 and this run alpha 32.

    ## Bad

    ```python
    import torch
    from safetensors.torch import load_file, save_file
    from torch import nn


    class Branch(nn.Module):
        def __init__(self, linear, rank, alpha):
            super().__init__()
            self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
            self.lora_up = nn.Linear(rank, linear.out_features, bias=False)
            self.alpha = alpha
            self.scale = alpha / rank
            self.linear = linear

        def forward(self, x):
            return self.linear(x) + self.lora_up(self.lora_down(x)) * self.scale


    class Network:
        def __init__(self, layers, rank, alpha):
            self.parts = {name: Branch(layer, rank, alpha) for name, layer in layers.items()}

        def save(self, path):
            tensors = {}
            for name, part in self.parts.items():
                tensors[f"{name}.lora_down.weight"] = part.lora_down.weight
                tensors[f"{name}.lora_up.weight"] = part.lora_up.weight
                tensors[f"{name}.alpha"] = torch.tensor(float(part.alpha))
            save_file(tensors, path)

        def load(self, path):
            tensors = load_file(path)
            for name, part in self.parts.items():
                part.lora_down.weight.data.copy_(tensors[f"{name}.lora_down.weight"])
                part.lora_up.weight.data.copy_(tensors[f"{name}.lora_up.weight"])
    ```

    ## Good

    ```python
    import torch
    from safetensors.torch import load_file, save_file
    from torch import nn


    class Branch(nn.Module):
        def __init__(self, linear, rank, alpha):
            super().__init__()
            self.lora_down = nn.Linear(linear.in_features, rank, bias=False)
            self.lora_up = nn.Linear(rank, linear.out_features, bias=False)
            self.alpha = alpha
            self.scale = alpha / rank
            self.linear = linear

        def forward(self, x):
            return self.linear(x) + self.lora_up(self.lora_down(x)) * self.scale


    class Network:
        def __init__(self, layers, rank, alpha):
            self.parts = {name: Branch(layer, rank, alpha) for name, layer in layers.items()}

        def save(self, path):
            tensors = {}
            for name, part in self.parts.items():
                tensors[f"{name}.lora_down.weight"] = part.lora_down.weight
                tensors[f"{name}.lora_up.weight"] = part.lora_up.weight
                tensors[f"{name}.alpha"] = torch.tensor(float(part.alpha))
            save_file(tensors, path)

        def load(self, path):
            tensors = load_file(path)
            for name, part in self.parts.items():
                part.lora_down.weight.data.copy_(tensors[f"{name}.lora_down.weight"])
                part.lora_up.weight.data.copy_(tensors[f"{name}.lora_up.weight"])
                part.alpha = float(tensors[f"{name}.alpha"])
                part.scale = part.alpha / part.lora_down.weight.shape[0]
    ```

    ## Fix safety

    No fix: an old file may hold no alpha, and where the scale is kept is for the class to say.

    ## Limits

    Both methods belong to one class. Silent if the loading one reads or sets any alpha or scale, calls
    `load_state_dict`, or hands the file to something out of sight.

    ## References

    - a trainer's network class whose resume keeps the alpha of the command line
    """

    code = "LS313"
    name = "saved-alpha-not-loaded"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Classes that write alpha beside factors, and read factors without it."""
        written = _written(ledger)
        if not written:
            return
        for look in looks(ledger, callees=True):
            cls = None if look.function is None else look.function.owner
            if cls is None or cls not in written or written[cls].spot.function is look.function:
                continue
            place = _loads_factors(look)
            if place is not None and not _cares_for_alpha(look):
                alpha = written[cls]
                yield self.at(
                    place,
                    f"`{look.function.qualname if look.function else ''}` loads the factors that "
                    f"`{alpha.spot.name}` saves, and not their alpha",
                    effect="alpha of the file / alpha of this run, in strength",
                    trace=[
                        (alpha.spot, "alpha is saved beside the factors"),
                        (place, "the file is loaded, and its alpha is never looked at"),
                    ],
                )


def _written(ledger: Ledger) -> dict[ClassInfo, KeyWrite]:
    """Where the methods of a class write alpha beside factors, into what becomes a file."""
    found: dict[ClassInfo, KeyWrite] = {}
    for table in tables(ledger):
        alphas = table.by_role(ALPHA)
        owner = None if not alphas or alphas[0].spot.function is None else alphas[0].spot.function.owner
        if owner is None or owner in found:
            continue
        factors = [any(is_real_factor(w.value) for w in table.by_role(side)) for side in (A, B)]
        if all(factors) and table.goes_to(WRITES_TENSORS):
            found[owner] = alphas[0]
    return found


def _loads_factors(look: Look) -> Spot | None:
    """Where the file is opened whose factors the function puts into layers."""
    opened = [use for use in look.uses if isinstance(use.result, Place) and use.result.made == "state dict"]
    files = {use.result.path: use.spot for use in opened if isinstance(use.result, Place)}
    sides: dict[str, set[str | None]] = defaultdict(set)
    for store in look.stores:
        for option in options(store.value):
            value = option.value
            if isinstance(value, Place) and value.role in (A, B):
                sides[value.path.partition("[")[0]].add(value.role)
            elif isinstance(value, Tensor) and value.kind in (A, B):
                sides[value.origin.partition("[")[0]].add(value.kind)
    for path, spot in files.items():
        if {A, B} <= sides.get(path, set()):
            return spot
    return None


def _cares_for_alpha(look: Look) -> bool:
    numbers = (ALPHA, SCALING, MULTIPLIER)
    return (
        any(key_role_of(read.key) in (ALPHA, SCALING) for read in look.reads)
        or any(role_of(store.field, True) in numbers for store in look.stores)
        or any(
            use.called in READS_WHOLE or any(role_of(n, True) in numbers for n in use.given)
            for use in look.uses
        )
    )
