"""LS412: a loader takes one alpha and rank of a PEFT configuration for all modules."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.kinds import speaks_of_patterns
from lorascale_lint.ledger.contracts import Contracts
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.patterned_ranks import lost_patterns, uses_of
from lorascale_lint.rule import Rule


class PatternsIgnored(Rule):
    """Adapter configuration read for alpha and rank, and not for its patterns

    ## What it finds

    `lora_alpha` and `r` of a loaded PEFT configuration that are divided, given to what makes a layer, or
    written into another file, where no code before or behind looks at `alpha_pattern` and `rank_pattern`.
    Also the `lora_alpha` of a model's own configuration that is written for each module, where the project
    gives that configuration patterns; and code that looks a module's rank up in `rank_pattern` and takes
    one alpha for all, that reads its ranks and divides by the rank of all, or that asks for a table under a
    name which the file does not have.

    ## Why it is wrong

    The same configuration may give single modules an alpha or a rank of their own. Such a module was
    trained at its own alpha / rank, and is applied at that of the others.

    ## Effect

    For a module with alpha 64 in `alpha_pattern` beside `lora_alpha` 16: 4x too weak.

    ## Bad

    ```python
    import json

    from safetensors.torch import load_file


    def deltas(folder):
        with open(f"{folder}/adapter_config.json") as file:
            config = json.load(file)
        if config.get("use_rslora"):
            raise ValueError("rsLoRA")
        tensors = load_file(f"{folder}/adapter_model.safetensors")
        found = {}
        for key, down in tensors.items():
            if key.endswith(".lora_A.weight"):
                up = tensors[key.replace(".lora_A.", ".lora_B.")]
                found[key] = up @ down * (config["lora_alpha"] / config["r"])
        return found
    ```

    ## Good

    ```python
    import json

    from safetensors.torch import load_file


    def deltas(folder):
        with open(f"{folder}/adapter_config.json") as file:
            config = json.load(file)
        if config.get("use_rslora") or config.get("alpha_pattern") or config.get("rank_pattern"):
            raise ValueError("rsLoRA and patterns")
        tensors = load_file(f"{folder}/adapter_model.safetensors")
        found = {}
        for key, down in tensors.items():
            if key.endswith(".lora_A.weight"):
                up = tensors[key.replace(".lora_A.", ".lora_B.")]
                found[key] = up @ down * (config["lora_alpha"] / config["r"])
        return found
    ```

    ## Fix safety

    No fix: the tables hold patterns of module names, which PEFT looks up with
    `peft.utils.other.get_pattern_key`. Look both up, or refuse adapters that have them.

    ## Limits

    Seen with `--preview` only: few adapters have patterns. Silent where LS401 reports the same place, and
    in all cases in which that rule is silent but for the flag.

    ## References

    - PEFT `LoraConfig.alpha_pattern` and `rank_pattern`; PEFT issue 2194
    - vllm rejects such adapters; lmdeploy and petals apply them at the alpha of all modules
    """

    code = "LS412"
    name = "patterns-ignored"
    fix = "none"
    yields_to = ("LS401",)

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """One finding for each loaded configuration, at its alpha."""
        contracts = ledger.once(Contracts)
        seen: set[tuple[object, str]] = set()
        for lost in lost_patterns(ledger):
            seen.add((lost.spot.function or lost.spot.file, ""))
            yield self.at(lost.spot, lost.message, effect=lost.effect, trace=lost.steps)
        for alpha_read, ranks in contracts.half_read:
            spot = alpha_read.spot
            seen.add((spot.function or spot.file, ""))
            yield self.at(
                spot,
                "the ranks of single modules are read from `rank_pattern`, their alphas in `alpha_pattern` "
                "are not",
                effect="the module's own alpha / rank is replaced by lora_alpha / rank",
                trace=(
                    (ranks.spot, "a module may have a rank of its own"),
                    (spot, "and gets the alpha of all"),
                    *((at, "which is used here") for at in uses_of(ledger, alpha_read)),
                ),
            )
        for meeting in contracts.meetings:
            alpha = meeting.alpha.spot
            place = (alpha.function or alpha.file, meeting.path)
            if place in seen or (place[0], "") in seen:
                continue
            origin = contracts.built_with(meeting, speaks_of_patterns)
            if origin is None:
                origin = contracts.loaded(meeting)
                if origin is None:
                    continue
                if not (contracts.takes_any_adapter(meeting, origin) or contracts.stands_by_factors(meeting)):
                    continue
                if contracts.knows_patterns(meeting, origin):
                    continue
            elif meeting.rank is not None or contracts.reads_patterns(meeting):
                continue
            seen.add(place)
            yield self.at(
                alpha,
                f"`{alpha.name}` takes the `lora_alpha` of an adapter configuration for all modules and "
                "ignores `alpha_pattern`",
                confidence="medium",
                effect="the module's own scale is replaced by lora_alpha / r",
                trace=(
                    (origin, "the configuration comes from here"),
                    (alpha, "the alpha of all modules is read"),
                    (meeting.spot, "and is used for each of them"),
                ),
            )
