"""LS303: alpha's key loses its suffix before the names are mapped, so the mapping never matches it."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.ledger.alpha_look_ups import Unmapped, unmapped_alphas
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class UnmappedAlphaKey(Rule):
    """Alpha key mapped without the suffix that the mapping needs

    ## What it finds

    A loader that maps `name.lora_A` and `name.lora_B` with their suffix through a function made from
    regular expressions, and alpha's name without it, where those expressions end in a further segment
    (`...to_q\\.(.*)$`): they match the factors and never alpha.

    ## Why it is wrong

    Alpha is stored under the old name, the factors under the new one. The lookup by the new name finds
    no alpha and takes the rank: the scale is 1 for every layer whose name is mapped.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    import re

    from safetensors.torch import load_file

    MAPPING = {
        r"^blocks\\.(\\d+)\\.attn1\\.to_q\\.(.*)$": r"blocks.\\1.to_q.\\2",
        r"^blocks\\.(\\d+)\\.attn1\\.to_k\\.(.*)$": r"blocks.\\1.to_k.\\2",
    }


    def get_mapping(table):
        def mapping_fn(name):
            for pattern, replacement in table.items():
                if re.match(pattern, name):
                    return re.sub(pattern, replacement, name)
            return name

        return mapping_fn


    def load_adapter(layers, path):
        adapter = {}
        mapping_fn = get_mapping(MAPPING)
        for name, weight in load_file(path).items():
            if "lora_alpha" in name:
                layer_name = mapping_fn(name.replace(".lora_alpha", ""))
                adapter[layer_name + ".lora_alpha"] = weight.item()
                continue
            adapter[mapping_fn(name)] = weight
        for name, layer in layers.items():
            alpha = adapter.get(name + ".lora_alpha")
            lora_A, lora_B = adapter[name + ".lora_A"], adapter[name + ".lora_B"]
            layer.weight.data += (alpha / lora_A.shape[0]) * (lora_B @ lora_A)
    ```

    ## Good

    ```python
    import re

    from safetensors.torch import load_file

    MAPPING = {
        r"^blocks\\.(\\d+)\\.attn1\\.to_q\\.(.*)$": r"blocks.\\1.to_q.\\2",
        r"^blocks\\.(\\d+)\\.attn1\\.to_k\\.(.*)$": r"blocks.\\1.to_k.\\2",
    }


    def get_mapping(table):
        def mapping_fn(name):
            for pattern, replacement in table.items():
                if re.match(pattern, name):
                    return re.sub(pattern, replacement, name)
            return name

        return mapping_fn


    def load_adapter(layers, path):
        adapter = {}
        mapping_fn = get_mapping(MAPPING)
        for name, weight in load_file(path).items():
            if "lora_alpha" in name:
                layer_name = mapping_fn(name)
                adapter[layer_name] = weight.item()
                continue
            adapter[mapping_fn(name)] = weight
        for name, layer in layers.items():
            alpha = adapter.get(name + ".lora_alpha")
            lora_A, lora_B = adapter[name + ".lora_A"], adapter[name + ".lora_B"]
            layer.weight.data += (alpha / lora_A.shape[0]) * (lora_B @ lora_A)
    ```

    ## Fix safety

    Safe: the key is mapped whole, as those of the factors are. Alpha is then found where it was not, and
    an alpha that equals the rank gives the scale of a missing one. Offered where every replacement ends in
    what the last group matched, so that the suffix survives.

    ## Limits

    Needs the regular expressions as literals in the project, at least two of them.

    ## References

    - FastVideo 0.1.7 to 0.2.1, `set_lora_adapter` with Wan adapters under their original names
    """

    code = "LS303"
    name = "unmapped-alpha-key"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Alphas that keep the module's old name where the factors get a new one."""
        seen: set[object] = set()
        for found in unmapped_alphas(ledger):
            if found.alpha.spot.node not in seen and not found.spot.file.is_test:
                seen.add(found.alpha.spot.node)
                yield self._unmapped(ledger, found)

    def _unmapped(self, ledger: Ledger, found: Unmapped) -> Finding:
        message = "the name of alpha is mapped without its suffix, which the mapping needs"
        shows = "the mapping matches names with one more part"
        if found.module:
            message = f"alpha is stored as `{found.key}`, and its factors under `{found.module}`"
            shows = f"the name of the factors becomes `{found.module}` here"
        from lorascale_lint.codemods.map_whole_key import map_whole_key

        return self.at(
            found.spot,
            message,
            effect=effect_of(ONE) + ", for every mapped name",
            trace=[
                (found.shows, shows),
                (found.alpha.spot, "alpha is stored under a name that the mapping left as it was"),
            ],
            fix=map_whole_key(ledger, found),
        )
