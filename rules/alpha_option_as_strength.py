"""LS504: an option that is an alpha by its default is given where a plain strength is wanted."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.interfaces import looks_like_alpha
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.defaults import Defaults
from lorascale_lint.ledger.entries import Default
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import named_outright, scale_of, symbol_of
from lorascale_lint.ledger.strengths import OWN, GivenStrength, given_strengths, real_uses, variable
from lorascale_lint.provenance.scale import Symbol
from lorascale_lint.rule import Rule


class AlphaOptionAsStrength(Rule):
    """Option with an alpha as its default, given as a plain multiplier

    ## What it finds

    An argument that multiplies the delta as it is (DiffSynth's `load_lora(alpha=)`, diffusers'
    `fuse_lora(lora_scale=)`, `set_adapters`, `cross_attention_kwargs={"scale": ...}`, or a function of the
    project that multiplies by it beside alpha / rank) that is given an option of the command line, a field
    of a dataclass or a parameter, whose default is a usual alpha: 8, 16, 32, 64.

    ## Why it is wrong

    1 applies the adapter as it was trained. alpha / rank is in the file, or the library takes alpha = rank.
    Who runs the program without the option multiplies by alpha on top of that.

    ## Effect

    With a default of 32 the adapter is applied 32 times too strong, which gives noise.

    ## Bad

    ```python
    import argparse

    from diffsynth.pipelines.flux_image import FluxImagePipeline

    parser = argparse.ArgumentParser()
    parser.add_argument("--lora_path")
    parser.add_argument("--lora_alpha", type=float, default=32.0)
    args = parser.parse_args()
    pipe = FluxImagePipeline.from_pretrained("FLUX.1-dev")
    pipe.load_lora(pipe.dit, args.lora_path, alpha=args.lora_alpha)
    ```

    ## Good

    ```python
    import argparse

    from diffsynth.pipelines.flux_image import FluxImagePipeline

    parser = argparse.ArgumentParser()
    parser.add_argument("--lora_path")
    parser.add_argument("--lora_strength", type=float, default=1.0)
    args = parser.parse_args()
    pipe = FluxImagePipeline.from_pretrained("FLUX.1-dev")
    pipe.load_lora(pipe.dit, args.lora_path, alpha=args.lora_strength)
    ```

    ## Fix safety

    No fix: an option's name and default are what people type; rename it, and let it be 1 by default.

    ## Limits

    Silent if the default is no usual alpha (1, 0.8, 4), or if there is none. Needs an import of the library
    in the file. Where the file uses the same value as a real alpha, LS501 reports the call.

    ## References

    - DiffSynth-Studio: `alpha` of `load_lora` is a strength; the files that it trains have alpha = rank
    - diffusers `fuse_lora`, `set_adapters`, `cross_attention_kwargs`
    """

    code = "LS504"
    name = "alpha-option-as-strength"
    severity = "warning"
    fix = "none"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Strengths whose number is an option, field or parameter with an alpha as its default."""
        defaults = Defaults(ledger)
        uses = real_uses(ledger)
        for given in given_strengths(ledger):
            symbol = symbol_of(given.value)
            if symbol is None or given.spot.file.is_test:
                continue
            if given.argument.library != OWN and uses.get(variable(symbol, given.spot)) == ALPHA:
                continue  # LS501
            default = self._alpha_by_default(given, symbol, defaults)
            if default is not None:
                yield self._report(given, symbol, default)

    def _alpha_by_default(self, given: GivenStrength, symbol: Symbol, defaults: Defaults) -> Default | None:
        known = defaults.of(symbol.origin, given.use.spot)
        numbers = [scale_of(item.value) for item in known]
        if not known or any(
            n is None or n.constant is None or not looks_like_alpha(float(n.constant)) for n in numbers
        ):
            return None
        outright = symbol.role in (ALPHA, RANK) and named_outright(symbol)
        option = known[0].how != "parameter" and given.argument.integers
        return known[0] if outright or option else None

    def _report(self, given: GivenStrength, symbol: Symbol, default: Default) -> Finding:
        scale = scale_of(default.value)
        number = float(scale.constant) if scale is not None and scale.constant is not None else 0.0
        name = symbol.origin.rpartition(".")[2]
        call = given.argument.call or "the pipeline"
        return self.at(
            given.spot,
            f"`{call}` takes a plain multiplier and is given `{name}`, which is {number:g} by default",
            effect=f"{number:.2f}x too strong wherever `{name}` is not set",
            trace=[
                (default.spot, f"`{name}` is {number:g} by default: an alpha, not a strength"),
                (given.spot, "here it multiplies the delta, on top of the trained scale"),
            ],
        )
