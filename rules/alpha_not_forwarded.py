"""LS305: the alphas of an adapter file are gathered and not given to the consumer that takes them."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import Finding, Repair
from lorascale_lint.ledger.effect import effect_of
from lorascale_lint.ledger.exchanged_numbers import ranks_for_alpha
from lorascale_lint.ledger.gathered import Consumer, Gathered, consumers, forgotten
from lorascale_lint.ledger.half_given import half_given
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.scale import ONE
from lorascale_lint.rule import Rule


class AlphaNotForwarded(Rule):
    """Alphas gathered from a file and not passed on

    ## What it finds

    A function that reads the alpha of every module of an adapter file into a dictionary, never reads
    that dictionary again, and calls a function or class of the project that has a parameter for it
    (`modules_alpha`, `network_alphas`, or one `alpha` for all modules) without giving it.

    Also two calls that get the factors of one file, of which one gets the alphas and the other None, and a
    call that gets the rank of the factors as alpha, where the file's own is read and goes nowhere.

    ## Why it is wrong

    The consumer falls back on its defaults, so each module is scaled by a constant alpha and not by
    the one that the file states. The factors load, shapes agree, and nothing else shows the loss.

    ## Effect

    Effective scale default / rank: with a default of 1, a file with alpha=64 is 64x too weak.

    ## Bad

    ```python
    class LoRANetwork:
        def __init__(self, model, multiplier=1.0, lora_dim=4, alpha=1, modules_dim=None, modules_alpha=None):
            self.model = model
            self.multiplier = multiplier
            self.lora_dim = lora_dim
            self.alpha = alpha
            self.modules_dim = modules_dim
            self.modules_alpha = modules_alpha


    def create_network_from_weights(model, multiplier, weights):
        modules_dim = {}
        modules_alpha = {}
        for key, value in weights.items():
            lora_name = key.split(".")[0]
            if "alpha" in key:
                modules_alpha[lora_name] = value
            elif "lora_down" in key:
                modules_dim[lora_name] = value.size()[0]
        return LoRANetwork(model, multiplier=multiplier)
    ```

    ## Good

    ```python
    class LoRANetwork:
        def __init__(self, model, multiplier=1.0, lora_dim=4, alpha=1, modules_dim=None, modules_alpha=None):
            self.model = model
            self.multiplier = multiplier
            self.lora_dim = lora_dim
            self.alpha = alpha
            self.modules_dim = modules_dim
            self.modules_alpha = modules_alpha


    def create_network_from_weights(model, multiplier, weights):
        modules_dim = {}
        modules_alpha = {}
        for key, value in weights.items():
            lora_name = key.split(".")[0]
            if "alpha" in key:
                modules_alpha[lora_name] = value
            elif "lora_down" in key:
                modules_dim[lora_name] = value.size()[0]
        return LoRANetwork(model, multiplier=multiplier, modules_dim=modules_dim, modules_alpha=modules_alpha)
    ```

    ## Fix safety

    Unsafe: passing the dictionary changes what every file does, and the consumer may use it in ways of its
    own. Other dictionaries that were gathered for parameters of their name go with it. No fix where the
    consumer takes one number for all modules.

    ## Limits

    Silent if the dictionary is read, returned or handed on anywhere, if the call passes `*` or `**`
    arguments, and if the consumer is not part of the project. A loader that never reads an alpha is
    LS301's, a converter that writes none LS302's: here alpha is read, and then left behind.

    ## References

    - kohya-ss/sd-scripts commit 358f13f2: the Flux network gets its `modules_dim` and `modules_alpha`
    - `load_lora_into_unet(..., network_alphas=...)` of diffusers is the same interface
    """

    code = "LS305"
    name = "alpha-not-forwarded"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Dictionaries of alphas that nobody reads, or that one call gets and its neighbour does not."""
        for half in half_given(ledger):
            yield self.at(
                half.use.spot,
                f"`{half.use.called}` gets the factors of the file and no alphas, which "
                f"`{half.told.called}` gets",
                effect=f"without `{half.parameter}` every module has the scale 1",
                trace=[
                    (half.alphas, "here the alphas of the same file are given"),
                    (half.use.spot, f"and here `{half.parameter}` is None"),
                ],
            )
        for wrong in ranks_for_alpha(ledger):
            back = [(wrong.through, "it comes back from here")] if wrong.through else []
            yield self.at(
                wrong.use.spot,
                f"`{wrong.use.called}` gets the rank as `{wrong.parameter}`, and the alpha goes nowhere",
                effect=effect_of(ONE),
                trace=[
                    (wrong.read, "alpha is read from the file"),
                    *back,
                    (wrong.use.spot, f"`{wrong.parameter}` is the rank of the factors here"),
                ],
            )
        for fate, gathered, others in forgotten(ledger):
            for consumer in consumers(fate, gathered):
                yield self.at(
                    consumer.use.spot,
                    f"`{gathered.name}` is gathered from the file and not passed to `{consumer.title}`",
                    effect=f"`{consumer.parameter}` keeps its default: the alphas of the file have no effect",
                    trace=_steps(gathered, others, consumer),
                    fix=_forwarded(ledger, gathered, others, consumer),
                )


def _forwarded(
    ledger: Ledger, gathered: Gathered, others: list[Gathered], consumer: Consumer
) -> Repair | None:
    """The dictionary for a parameter that takes one, and what was gathered for nothing under its name."""
    if not consumer.takes_all:
        return None  # it takes one number
    order = consumer.callee.parameters
    also = [o.name for o in others if o.name in order and o.name not in consumer.use.given]
    arguments = sorted(
        [(consumer.parameter, gathered.name), *zip(also, also, strict=True)], key=lambda a: order.index(a[0])
    )
    spot = consumer.use.spot
    from lorascale_lint.codemods.forward_arguments import forward_arguments

    return forward_arguments(ledger, spot.file.filename, spot.loc, arguments, "unsafe")


def _steps(gathered: Gathered, others: list[Gathered], consumer: Consumer) -> Iterator[tuple[Spot, str]]:
    yield gathered.made, f"`{gathered.name}` is made here, and nothing reads it"
    yield gathered.writes[0].spot, "the alpha of each module of the file goes into it"
    for other in others:
        yield other.made, f"`{other.name}` is gathered for nothing as well"
    arguments = consumer.callee.node.args
    for declared in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if declared.arg == consumer.parameter:
            spot = Spot(consumer.callee.file, consumer.callee, consumer.callee.owner, declared)
            yield spot, f"`{consumer.parameter}` is the parameter that would take it"
