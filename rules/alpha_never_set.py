"""LS202: alpha and rank are set for training only, and the layers are made with None elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.codemods.thread_alpha import thread_alpha
from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import Attr, Event, Loc, Term
from lorascale_lint.findings import Finding
from lorascale_lint.model import Implementation, Model
from lorascale_lint.model.applications import describe_guard
from lorascale_lint.model.project import CallSite, Class, Function, bound_arguments, constructor, is_receiver
from lorascale_lint.model.scale import ALPHA, ONE
from lorascale_lint.model.state import AttributeState, state_attributes
from lorascale_lint.model.vocabulary import number_role
from lorascale_lint.rule import Rule


class AlphaNeverSet(Rule):
    """Layers made with an alpha that only training sets

    ## What it finds

    A pipeline that makes its LoRA layers with `lora_alpha=self.lora_alpha`, where that attribute is
    None by default and is written under one condition only (training), and that applies adapters
    outside that condition as well, through a setter that does not set alpha either.

    ## Why it is wrong

    On the inference path alpha and rank are None from the constructor to the application, so that
    `alpha / rank` can't be formed and the delta is applied at scale 1.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
            self.base_layer = base_layer
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha

        @property
        def lora_scale(self):
            if self.lora_alpha is None or self.lora_rank is None:
                return 1.0
            return self.lora_alpha / self.lora_rank

        def set_lora_weights(self, A, B):
            self.lora_A = A
            self.lora_B = B

        def merge(self):
            self.base_layer.weight.data += self.lora_scale * (self.lora_B @ self.lora_A)


    class LoRAPipeline:
        lora_rank = None
        lora_alpha = None

        def __init__(self, model, args):
            self.model = model
            if args.training:
                self.lora_rank = args.lora_rank
                self.lora_alpha = args.lora_alpha
            self.layers = {
                name: LoRALinear(layer, self.lora_rank, self.lora_alpha)
                for name, layer in model.named_modules()
            }

        def set_lora_adapter(self, tensors):
            for name, layer in self.layers.items():
                layer.set_lora_weights(
                    tensors[name + ".lora_A"],
                    tensors[name + ".lora_B"],
                )
    ```

    ## Good

    ```python
    class LoRALinear:
        def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
            self.base_layer = base_layer
            self.lora_rank = lora_rank
            self.lora_alpha = lora_alpha
            self.default_lora_alpha = lora_alpha

        @property
        def lora_scale(self):
            if self.lora_alpha is None or self.lora_rank is None:
                return 1.0
            return self.lora_alpha / self.lora_rank

        def set_lora_weights(self, A, B, lora_alpha=None):
            self.lora_A = A
            self.lora_B = B
            self.lora_rank = A.shape[0]
            self.lora_alpha = self.default_lora_alpha if lora_alpha is None else float(lora_alpha)

        def merge(self):
            self.base_layer.weight.data += self.lora_scale * (self.lora_B @ self.lora_A)


    def get_lora_alpha(adapter, name):
        \"\"\"
        Look up the alpha of one layer of an adapter; without one it is the layer's rank.
        \"\"\"
        rank = adapter[name + ".lora_A"].shape[0]
        for alpha_name in (name + ".lora_alpha", name + ".alpha"):
            if alpha_name in adapter:
                return float(adapter[alpha_name])
        if name + ".alpha_scale" in adapter:  # alpha / rank
            return float(adapter[name + ".alpha_scale"]) * rank
        return rank


    class LoRAPipeline:
        lora_rank = None
        lora_alpha = None

        def __init__(self, model, args):
            self.model = model
            if args.training:
                self.lora_rank = args.lora_rank
                self.lora_alpha = args.lora_alpha
            self.layers = {
                name: LoRALinear(layer, self.lora_rank, self.lora_alpha)
                for name, layer in model.named_modules()
            }

        def set_lora_adapter(self, tensors):
            for name, layer in self.layers.items():
                layer.set_lora_weights(
                    tensors[name + ".lora_A"],
                    tensors[name + ".lora_B"],
                    lora_alpha=get_lora_alpha(tensors, name),
                )
    ```

    ## Fix safety

    Safe: it is the repair of LS203, which lets the setter store alpha and rank, and every loader pass
    them; layers keep the constructor's alpha where nothing is loaded.

    ## Limits

    Looks at attributes of the class that makes the layers; configuration objects are not followed.

    ## References

    - FastVideo 0.1.6, `LoRAPipeline.__init__` sets `lora_rank` and `lora_alpha` under `training_mode`
    """

    code = "LS202"
    name = "alpha-never-set"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Calls that make a layer with an alpha attribute that stays None outside one condition."""
        for implementation in model.implementations:
            alpha = implementation.alpha
            if alpha is None or not alpha.may_be_none:
                continue
            for site, owner, argument in _layer_calls(model, implementation):
                state = next(
                    (s for s in state_attributes(model.project, owner) if s.name == argument.name), None
                )
                if (
                    state is not None
                    and state.may_be_none
                    and state.conditional_writes
                    and _applies(model, owner)
                ):
                    yield self._report(model, implementation, site, state, argument)

    def _report(
        self,
        model: Model,
        implementation: Implementation,
        site: CallSite,
        state: AttributeState,
        argument: Attr,
    ) -> Finding:
        filename = site.caller.filename
        steps: list[tuple[str, Loc, str]] = []
        if state.unset_by is not None:
            steps.append((state.unset_by.filename, state.unset_by.loc, f"`{state.name}` is None by default"))
        for write in state.conditional_writes:
            condition = " and ".join(map(describe_guard, write.conditional))
            steps.append((write.filename, write.loc, f"its only value is set under `{condition}`"))
        steps += [
            (
                a.function.filename,
                a.loc,
                f"the layer's `{a.function.facts.name}` applies the delta at {a.formula()}",
            )
            for a in implementation.applications[:3]
        ]
        fixes = [thread_alpha(model, implementation, setter) for setter in implementation.setters]
        event: Event = site.event
        return self.finding(
            model,
            filename,
            argument.loc,
            f"LoRA layers are made with `{state.name}`, which stays None unless training sets it",
            event=event,
            effect=effect_of(ONE),
            trace=steps,
            fix=fixes[0] if len(fixes) == 1 else None,
        )


def _layer_calls(model: Model, implementation: Implementation) -> Iterator[tuple[CallSite, Class, Attr]]:
    """Calls that make a layer, or call what makes it, with an attribute of the caller as alpha."""
    init = model.project.method(implementation.root, "__init__")
    makers: dict[Function, None] = {}
    if init is not None:
        makers[init] = None
        for cls in model.project.family(implementation.root):
            found = constructor(model.project, cls)
            if found is not None:
                makers[found] = None
    for maker in [*makers]:
        for site in model.project.call_sites(maker):
            if site.caller.owner is None:  # a factory such as ``get_lora_layer``
                makers[site.caller] = None
    seen: set[int] = set()
    for maker in makers:
        for site in model.project.call_sites(maker):
            if id(site.call) in seen:
                continue
            for name, term in bound_arguments(site.call, maker).items():
                owner = site.caller.owner
                if number_role(name, True) == ALPHA and owner is not None and _own(term, site.caller):
                    seen.add(id(site.call))
                    assert isinstance(term, Attr)
                    yield site, owner, term


def _own(term: Term, function: Function) -> bool:
    return isinstance(term, Attr) and is_receiver(term.base, function)


def _applies(model: Model, owner: Class) -> bool:
    """Does the class hand factors to a setter, in a method of its own?"""
    family = model.project.family(owner)
    return any(loader.setter_calls and loader.function.owner in family for loader in model.loaders)
