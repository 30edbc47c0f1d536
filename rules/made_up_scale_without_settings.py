"""LS215: a layer's scale is alpha / rank where settings are found, and a number of the program's own else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, STRENGTH, role_of
from lorascale_lint.ledger.defaults import Defaults
from lorascale_lint.ledger.entries import Default, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, symbol_of
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.values import options
from lorascale_lint.rule import Rule


class MadeUpScaleWithoutSettings(Rule):
    """Scale that is a made-up number where no settings are found

    ## What it finds

    A field that holds alpha / rank where an adapter's settings are read, and that starts as a parameter
    whose default is neither 0 nor 1.

    ## Why it is wrong

    An adapter that comes without settings is applied at that number, whatever it was trained at. A file that
    states no alpha has alpha = rank: its scale is 1.

    ## Effect

    4.00x too strong for a default of 4.

    ## Bad

    ```python
    import json
    import os

    from safetensors.torch import load_file


    class LoraFile:
        def __init__(self, path, scale=4.0):
            self.scale = scale
            self.load(path)

        def load(self, path):
            if os.path.isdir(path):
                with open(os.path.join(path, "adapter_config.json")) as file:
                    config = json.load(file)
                if config.get("alpha_pattern") or config.get("rank_pattern"):
                    raise ValueError("an alpha or rank for single modules")
                self.scale = config["lora_alpha"] / config["r"]
                path = os.path.join(path, "adapter_model.safetensors")
            tensors = load_file(path)
            self.lora_B = {key: tensors[key] * self.scale for key in tensors if "lora_B" in key}
    ```

    ## Good

    ```python
    import json
    import os

    from safetensors.torch import load_file


    class LoraFile:
        def __init__(self, path, scale=1.0):
            self.scale = scale
            self.load(path)

        def load(self, path):
            if os.path.isdir(path):
                with open(os.path.join(path, "adapter_config.json")) as file:
                    config = json.load(file)
                if config.get("alpha_pattern") or config.get("rank_pattern"):
                    raise ValueError("an alpha or rank for single modules")
                root = 0.5 if config.get("use_rslora") else 1
                self.scale = config["lora_alpha"] / config["r"] ** root
                path = os.path.join(path, "adapter_model.safetensors")
            tensors = load_file(path)
            self.lora_B = {key: tensors[key] * self.scale for key in tensors if "lora_B" in key}
    ```

    ## Fix safety

    No fix: for whoever relies on the number, another default changes what the program gives.

    ## Limits

    Only a parameter of the constructor, only where the same field gets alpha / rank in another method.

    ## References

    - wangzhaode/llm-export `utils/lora.py`: 4.0 where a file is given instead of a folder
    """

    code = "LS215"
    name = "made-up-scale-without-settings"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Fields with alpha / rank on one way and a parameter's made-up default on another."""
        defaults = Defaults(ledger)
        fields: dict[tuple[ClassInfo, str], list[Store]] = defaultdict(list)
        for store in ledger.stores:
            owner = None if store.spot.function is None else store.spot.function.owner
            if owner is not None and role_of(store.field, True) in (SCALING, MULTIPLIER, STRENGTH):
                fields[owner, store.field].append(store)
        for (_, field), stores in fields.items():
            trained = next((store for store in stores if _is_trained(store)), None)
            if trained is None or trained.spot.file.is_test:
                continue
            for store in stores:
                default = _made_up(store, defaults)
                if default is not None and store.spot.function is not trained.spot.function:
                    yield self._report(field, store, trained, default)
                    break

    def _report(self, field: str, store: Store, trained: Store, default: Default) -> Finding:
        scale = scale_of(default.value)
        number = float(scale.constant) if scale is not None and scale.constant is not None else 1.0
        strong = f"{number:.2f}x too strong" if number > 1 else f"{1 / number:.2f}x too weak"
        return self.at(
            store.spot,
            f"`{field}` is {number:g} for an adapter without settings",
            effect=f"{strong} for a file that states no alpha",
            trace=[
                (default.spot, f"the default is {number:g}"),
                (store.spot, "it is the scale until settings are read"),
                (trained.spot, "where settings are read, the scale is alpha / rank"),
            ],
        )


def _is_trained(store: Store) -> bool:
    """``self.scale = alpha / rank`` of something that is read, not of the constructor's own arguments."""
    scale = scale_of(store.value)
    if scale is None or store.spot.function is None or store.spot.function.name == "__init__":
        return False
    powers = {symbol.role: (power, symbol.origin) for symbol, power in scale.powers}
    if set(powers) != {ALPHA, RANK}:
        return False
    return powers[ALPHA][0] == 1 and powers[RANK][0] == -1 and "[" in powers[ALPHA][1]


def _made_up(store: Store, defaults: Defaults) -> Default | None:
    if store.spot.chain or store.spot.function is None or store.spot.function.name != "__init__":
        return None
    for option in options(store.value):
        symbol = symbol_of(option.value)
        for default in defaults.of(symbol.origin, store.spot) if symbol is not None else ():
            number = scale_of(default.value)
            if number is not None and number.constant not in (None, 0, 1):
                return default
    return None
