"""LS402: a module divides alpha by sqrt(rank), and saves the alpha that readers divide by the rank."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.codemods.save_effective_alpha import save_effective_alpha
from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import Attr, Call, Const, Event, Item, Mapping, Param, Term, walk
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.project import Class, Function, is_receiver, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK, TRAINED, TRAINED_RS, Scale
from lorascale_lint.model.values import Alternative, Number
from lorascale_lint.rule import Rule

_FLAG = re.compile(r"(?i)_*(use_?)?(rs_?lora|rank_?stabili[sz]ed)")
_SAVES = frozenset("save save_file save_weights save_pretrained metadata get_extra_state state_dict".split())
_RAW = (Scale.of(ALPHA), Scale.of(RANK))
"""What a raw alpha can be; the rank stands in for an alpha of None or 0."""


class RsloraAlphaSavedRaw(Rule):
    """rsLoRA module that saves the raw alpha

    ## What it finds

    A class whose scale is alpha / sqrt(rank) when a flag of its constructor is on, and that registers
    the buffer (or parameter) `alpha` with the same value whether the flag is on or not.

    ## Why it is wrong

    The buffer goes into the file as `<module>.alpha`. A file of this format has no other word about
    the scale, so every reader divides it by the rank.

    ## Effect

    An adapter trained with the flag is read at 1 / sqrt(rank) of its strength: 11.31x too weak for
    rank=128.

    ## Bad

    ```python
    import math

    import torch


    class LoRAModule(torch.nn.Module):
        def __init__(self, org_module, lora_dim=4, alpha=1.0, rs_lora=False):
            super().__init__()
            self.org_forward = org_module.forward
            self.lora_down = torch.nn.Linear(org_module.in_features, lora_dim, bias=False)
            self.lora_up = torch.nn.Linear(lora_dim, org_module.out_features, bias=False)
            divisor = math.sqrt(lora_dim) if rs_lora else lora_dim
            self.scale = alpha / divisor
            self.register_buffer("alpha", torch.tensor(alpha))

        def forward(self, x):
            return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.scale
    ```

    ## Good

    ```python
    import math

    import torch


    class LoRAModule(torch.nn.Module):
        def __init__(self, org_module, lora_dim=4, alpha=1.0, rs_lora=False):
            super().__init__()
            self.org_forward = org_module.forward
            self.lora_down = torch.nn.Linear(org_module.in_features, lora_dim, bias=False)
            self.lora_up = torch.nn.Linear(lora_dim, org_module.out_features, bias=False)
            divisor = math.sqrt(lora_dim) if rs_lora else lora_dim
            self.scale = alpha / divisor
            self.register_buffer("alpha", torch.tensor(self.scale * lora_dim))

        def forward(self, x):
            return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.scale
    ```

    ## Fix safety

    Unsafe: a checkpoint to resume from may hold the raw alpha already. What is saved now, scale * rank,
    is alpha without the flag and alpha * sqrt(rank) with it; convert old files once.

    ## Limits

    Silent if the flag is saved too (a buffer, a metadata key), or comes from a configuration object,
    which may be saved beside the weights.

    ## References

    - LyCORIS stores alpha * sqrt(dim) for LoCon, LoHa and LoKr
    - Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA
    """

    code = "LS402"
    name = "rslora-alpha-saved-raw"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Classes with a scale that depends on the flag and a saved alpha that does not."""
        for cls in model.project.classes.values():
            methods = [m for m in model.project.methods(cls) if any(map(_FLAG.fullmatch, m.facts.words))]
            if is_test_file(cls.filename) or not methods:
                continue
            scale = next(iter(_flagged_scales(model, methods)), None)
            if scale is None or _saves_flag(model, cls):
                continue
            where, scaled = scale
            for method in model.project.methods(cls):
                for event, value in _saved_alphas(method):
                    if _is_raw(model.evaluator.values(value, model.evaluator.frame(method))):
                        yield self.finding(
                            model,
                            cls.filename,
                            event.loc,
                            f"`{cls.name}` scales by alpha / sqrt(rank) with rsLoRA and saves the raw alpha",
                            event=event,
                            effect=f"in every reader of the file: {effect_of(TRAINED, TRAINED_RS)}",
                            trace=(
                                (
                                    where.filename,
                                    scaled.loc,
                                    "with the flag on, the scale is alpha / sqrt(rank)",
                                ),
                                (
                                    method.filename,
                                    event.loc,
                                    "the file gets alpha itself, flag or no flag",
                                ),
                            ),
                            fix=save_effective_alpha(model, method, scale, event),
                        )


def _flagged_scales(model: Model, methods: list[Function]) -> Iterator[tuple[Function, Event]]:
    """Writes of alpha / sqrt(rank) under the flag and of alpha / rank without it."""
    for method in methods:
        frame = model.evaluator.frame(method)
        for event in method.events("write"):
            target = event.target
            if event.sign or not isinstance(target, Attr) or not is_receiver(target.base, method):
                continue
            found = model.evaluator.values(event.value, frame)
            scales = {a.value.scale for a in found if isinstance(a.value, Number)}
            if {TRAINED, TRAINED_RS} <= scales and any(
                a.value == Number(TRAINED_RS) and any(_is_flag(g.test, method) for g in a.guards)
                for a in found
            ):
                yield method, event


def _is_flag(test: Term, method: Function) -> bool:
    """Does ``test`` ask for the flag that the constructor was given?"""
    return any(
        isinstance(term, Param | Attr)
        and _FLAG.fullmatch(term.name) is not None
        and (isinstance(term, Param) or is_receiver(term.base, method))
        for term in walk(test)
    )


def _saved_alphas(method: Function) -> Iterator[tuple[Event, Term]]:
    """What the module keeps as ``alpha`` in its state: a persistent buffer, or a parameter."""
    for event in method.facts.events:
        match event.value:
            case Call(func=Attr(name="register_buffer" | "register_parameter")) as call:
                name = call.argument(0, "name")
                value = call.argument(1, "tensor") or call.argument(1, "param")
                persistent = call.argument(2, "persistent")
                kept = not (isinstance(persistent, Const) and persistent.value is False)
                named = isinstance(name, Const) and name.value == "alpha"
                if event.kind == "call" and named and value is not None and kept:
                    yield event, value
            case Call(func=Attr(name="Parameter"), args=(value, *_)) if event.kind == "write":
                if isinstance(event.target, Attr) and event.target.name == "alpha":
                    yield event, value
            case _:
                pass


def _is_raw(values: tuple[Alternative, ...]) -> bool:
    scales = [a.value.scale for a in values if isinstance(a.value, Number)]
    return len(scales) == len(values) and set(scales) <= set(_RAW) and _RAW[0] in scales


def _saves_flag(model: Model, cls: Class) -> bool:
    """Is the flag kept in the state of the module, or written by something that saves files?"""
    own = [m for item in model.project.family(cls) for m in model.project.methods(item)]
    for function in model.project.functions.values():
        if function not in own and not function.facts.words & _SAVES:
            continue
        if function in own and any(_registers_flag(event.value) for event in function.events("call")):
            return True
        for event in function.facts.events:
            keys = [event.target.key] if isinstance(event.target, Item) and event.kind == "write" else []
            keys += [key for term in walk(event.value) if isinstance(term, Mapping) for key, _ in term.pairs]
            if any(isinstance(key, Const) and _FLAG.search(str(key.value)) for key in keys):
                return True
    return False


def _registers_flag(term: Term) -> bool:
    if not isinstance(term, Call) or not isinstance(term.func, Attr):
        return False
    name = term.argument(0, "name")
    registers = term.func.name in ("register_buffer", "register_parameter")
    return registers and isinstance(name, Const) and _FLAG.search(str(name.value)) is not None
