"""LS309: a trainer with an alpha of its own saves the factors and nothing that tells the alpha."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.effect import effect_of
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    Global,
    Item,
    Mapping,
    Param,
    Term,
    source_text,
    walk,
)
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_flow import local_dictionaries, same_place
from lorascale_lint.model.project import Function, Project, bound_arguments, is_test_file
from lorascale_lint.model.scale import ALPHA, ONE
from lorascale_lint.model.vocabulary import number_role
from lorascale_lint.rule import Rule

_INJECTS = frozenset(["inject_adapter_in_model", "add_adapter"])
_TELLS = re.compile(r"(?i)alpha|meta_?data|config|save_pretrained|yaml|json|hparams|hyper_?param|scaling")
"""Words of code that may write alpha in some form."""
_CLASS_TELLS = re.compile(
    r"(?i)meta_?data|adapter_config|save_pretrained|save_config|save_hyperparameters|json"
)


@dataclass(frozen=True, slots=True, eq=False)
class _Training:
    """Where an adapter is put into a model: its configuration, and the alpha in it."""

    function: Function
    config: Call
    alpha: Term


class ExporterDropsAlpha(Rule):
    """Trainer that saves the factors without its alpha

    ## What it finds

    A class or script that puts an adapter into a model with `r` and an independent `lora_alpha`, and
    a function beside it that saves the trained factors alone: no alpha, metadata or configuration is
    written on that path or anywhere in the class.

    ## Why it is wrong

    The file does not state the trained scale. Every reader takes alpha = rank, or its own default.

    ## Effect

    Effective scale 1 instead of alpha / rank: 2.00x too strong for alpha=64, rank=128.

    ## Bad

    ```python
    from peft import LoraConfig, inject_adapter_in_model
    from safetensors.torch import save_file


    class LoRATrainer:
        def add_lora_to_model(self, model, lora_rank=4, lora_alpha=4):
            lora_config = LoraConfig(r=lora_rank, lora_alpha=lora_alpha, target_modules=["to_q", "to_v"])
            self.model = inject_adapter_in_model(lora_config, model)

        def save_lora(self, path):
            trainable = {name for name, param in self.model.named_parameters() if param.requires_grad}
            lora_state_dict = {}
            for name, param in self.model.state_dict().items():
                if name in trainable:
                    lora_state_dict[name] = param
            save_file(lora_state_dict, path)
    ```

    ## Good

    ```python
    from peft import LoraConfig, inject_adapter_in_model
    from safetensors.torch import save_file


    class LoRATrainer:
        def add_lora_to_model(self, model, lora_rank=4, lora_alpha=4):
            lora_config = LoraConfig(r=lora_rank, lora_alpha=lora_alpha, target_modules=["to_q", "to_v"])
            self.lora_alpha = lora_alpha
            self.model = inject_adapter_in_model(lora_config, model)

        def save_lora(self, path):
            trainable = {name for name, param in self.model.named_parameters() if param.requires_grad}
            lora_state_dict = {}
            for name, param in self.model.state_dict().items():
                if name in trainable:
                    lora_state_dict[name] = param
            save_file(lora_state_dict, path, metadata={"lora_alpha": str(self.lora_alpha)})
    ```

    ## Fix safety

    No fix: readers differ in where they look. Write `.alpha` keys for kohya's readers, the metadata
    `lora_adapter_metadata` for diffusers, or an `adapter_config.json` for PEFT.

    ## Limits

    Silent where alpha is the rank or defaults to it, where anything on the way of the save speaks of
    alpha, metadata or a configuration, and for adapters that PEFT's `save_pretrained` saves.

    ## References

    - diffusers issue 6087: alpha is not saved, and readers assume the rank
    - DiffSynth-Studio commit 540c0369: the trainer's alpha reaches the converter on save
    """

    code = "LS309"
    name = "exporter-drops-alpha"

    def check(self, model: Model) -> Iterator[Finding]:
        """Functions that save factors beside a training whose alpha nothing tells."""
        for function in model.functions:
            if is_test_file(function.filename):
                continue
            for training in _trainings(model.project, function):
                for saver in _neighbours(model.project, function):
                    save = _saves_factors(saver)
                    if save is None or _tells_alpha(model.project, training, saver):
                        continue
                    yield self.finding(
                        model,
                        saver.filename,
                        save.loc,
                        f"`{saver.facts.name}` saves the factors of an adapter without its alpha",
                        event=save,
                        effect=effect_of(ONE),
                        trace=(
                            (
                                function.filename,
                                training.config.loc,
                                "the adapter is trained with this alpha",
                            ),
                            (saver.filename, saver.facts.loc, "nothing in this function writes an alpha"),
                            (saver.filename, save.loc, "the factors are saved alone"),
                        ),
                    )


def _trainings(project: Project, function: Function) -> Iterator[_Training]:
    """PEFT configurations with an alpha that is not the rank, injected in the same function."""
    calls = [event.value for event in function.events("call") if isinstance(event.value, Call)]
    injected = [call for call in calls if _callee(call) in _INJECTS]
    for call in calls:
        if _callee(call) != "LoraConfig" or call.spread:
            continue
        given = dict(call.keywords)
        rank, alpha = given.get("r"), given.get("lora_alpha")
        if rank is None or alpha is None or not _is_configured(project, function, alpha):
            continue
        if source_text(rank) == source_text(alpha):
            continue
        if any(part is call for user in injected for part in walk(*user.args, *dict(user.keywords).values())):
            yield _Training(function, call, alpha)


def _callee(call: Call) -> str:
    return call.func.name if isinstance(call.func, Attr | Global) else ""


def _is_configured(project: Project, function: Function, alpha: Term) -> bool:
    """Can a user set this alpha apart from the rank: is it an option, or a parameter somebody gives?"""
    match alpha:
        case Attr(name=name):
            return number_role(name, True) == ALPHA
        case Param(name=name):
            parameter = function.parameter(name)
            if number_role(name, True) != ALPHA or parameter is None:
                return False
            if not (isinstance(parameter.default, Const) and parameter.default.value is None):
                return True
            return any(name in bound_arguments(site.call, function) for site in project.call_sites(function))
        case Choice(then=then, other=other):  # `lora_alpha if lora_alpha is not None else rank`
            given = (bound_arguments(site.call, function) for site in project.call_sites(function))
            names = {part.name for part in (then, other) if isinstance(part, Param)}
            return any(
                name in bound and number_role(name, True) == ALPHA for bound in given for name in names
            )
        case _:
            return False


def _neighbours(project: Project, function: Function) -> Iterator[Function]:
    """Methods of the class, or the other functions of a script."""
    if function.owner is not None:
        yield from project.methods(function.owner)
        return
    for other in project.functions.values():
        if other.filename == function.filename and other.owner is None:
            yield other


def _saves_factors(function: Function) -> Event | None:
    """The call that saves a state dict of trained factors, collected in this function."""
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call) or call.spread:
            continue
        first = call.args[0] if call.args else None
        match _callee(call):
            case "save_lora_weights":
                saved = any(_is_factors(function, value) for _, value in call.keywords)
            case "save_file":
                saved = first is not None and _is_factors(function, first)
            case "save":
                saved = (
                    source_text(call.func) == "torch.save"
                    and first is not None
                    and _is_factors(function, first)
                )
            case "update":  # Lightning's hook, where nothing else is left in the checkpoint
                alone = function.facts.name == "on_save_checkpoint" and "clear" in function.facts.words
                saved = alone and first is not None and _is_factors(function, first)
            case _:
                saved = False
        if saved:
            return event
    return None


def _is_factors(function: Function, term: Term) -> bool:
    """Is this the state dict of the adapter: PEFT's, or the trainable tensors that a loop collects?"""
    if isinstance(term, Mapping) and term.pairs:
        return False  # a training state, which the same configuration resumes
    parts = walk(term)
    if any(isinstance(part, Call) and _callee(part) == "get_peft_model_state_dict" for part in parts):
        return True
    if not {"requires_grad", '"lora_"', "'lora_'", '"lora"', "'lora'"} & function.facts.words:
        return False
    for gathered in local_dictionaries(function):
        copied = gathered.writes and all(_is_copied(write) for write in gathered.writes)
        if copied and any(same_place(part, gathered.made.value) for part in parts):
            return True
    return False


def _is_copied(write: Event) -> bool:
    """Is an element of a dictionary of tensors written under its own key?"""
    target = write.target
    keys = (
        {term.loc for term in walk(target.key) if isinstance(term, Element)}
        if isinstance(target, Item)
        else set()
    )
    return not write.sign and any(
        isinstance(term, Element) and term.loc in keys for term in walk(write.value)
    )


def _tells_alpha(project: Project, training: _Training, saver: Function) -> bool:
    """May the saver, what it calls, or its class write alpha in some form?"""
    for near in project.reachable(saver, 3):
        if any(_TELLS.search(word) for word in near.facts.words):
            return True
    for other in _neighbours(project, training.function):
        if any(_CLASS_TELLS.search(word) for word in other.facts.words):
            return True
    return any(
        _CLASS_TELLS.search(word) for site in project.call_sites(saver) for word in site.caller.facts.words
    )
