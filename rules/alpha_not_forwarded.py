"""LS305: the alphas of an adapter file are gathered and not given to the consumer that takes them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.codemods.forward_arguments import forward_arguments
from lorascale_lint.facts.terms import Call, Loc
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_flow import LocalDictionary, is_file_alpha, is_read, local_dictionaries
from lorascale_lint.model.project import CallSite, Function, bound_arguments, constructor
from lorascale_lint.model.scale import ALPHA
from lorascale_lint.model.vocabulary import number_role
from lorascale_lint.rule import Rule

_ALPHA_MAP = re.compile(r"(?:(?:modules?|network|lora|layer|base)_)?alphas|modules?_alpha|alpha_(?:dict|map)")
"""Parameters that take one alpha for each module."""


class AlphaNotForwarded(Rule):
    """Alphas gathered from a file and not passed on

    ## What it finds

    A function that reads the alpha of every module of an adapter file into a dictionary, never reads
    that dictionary again, and calls a function or class of the project that has a parameter for it
    (`modules_alpha`, `network_alphas`, or one `alpha` for all modules) without giving it.

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

    def check(self, model: Model) -> Iterator[Finding]:
        """Dictionaries of alphas that nobody reads, beside a call of somebody who would."""
        for function in model.functions:
            if "locals" in function.facts.words:
                continue
            for gathered in local_dictionaries(function):
                if not _holds_alphas(gathered) or is_read(model.project, function, gathered.made):
                    continue
                for site, consumer, parameter in _consumers(model, function, gathered):
                    yield self.finding(
                        model,
                        function.filename,
                        site.call.loc,
                        f"`{gathered.name}` is gathered from the file and not passed to "
                        f"`{consumer.owner.name if consumer.owner else consumer.facts.name}`",
                        event=site.event,
                        effect=f"`{parameter}` keeps its default, so the alphas of the file have no effect",
                        trace=_steps(model, function, gathered, consumer, parameter),
                        fix=forward_arguments(
                            model,
                            function.filename,
                            site.call.loc,
                            _arguments(model, function, gathered, site, consumer, parameter),
                            "unsafe",
                        ),
                    )


def _holds_alphas(gathered: LocalDictionary) -> bool:
    """Is everything in the dictionary an alpha of the file?"""
    return bool(gathered.writes) and all(
        not write.sign and is_file_alpha(write.value, write.guards) for write in gathered.writes
    )


def _consumers(
    model: Model, function: Function, gathered: LocalDictionary
) -> Iterator[tuple[CallSite, Function, str]]:
    """Calls after the dictionary was filled whose callee has a parameter for it that they do not give."""
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call) or call.spread or call.loc.row < gathered.writes[-1].row:
            continue
        for callee in model.project.callees(call.func, function, None):
            consumer = constructor(model.project, callee)
            if consumer is None:
                continue
            given = bound_arguments(call, consumer)
            takes = _alpha_parameters(consumer, gathered.name)
            if takes and not any(name in given for name in takes):
                yield CallSite(function, call, event), consumer, takes[0]


def _arguments(
    model: Model,
    function: Function,
    gathered: LocalDictionary,
    site: CallSite,
    consumer: Function,
    parameter: str,
) -> list[tuple[str, str]]:
    """The dictionary for a parameter that takes one, and what was gathered for nothing under its name."""
    if number_role(parameter, True) == ALPHA and parameter != gathered.name:
        return []  # it takes one number
    given = bound_arguments(site.call, consumer)
    also = [
        (other.name, other.name)
        for other in local_dictionaries(function)
        if other.name != gathered.name
        and other.writes
        and consumer.parameter(other.name) is not None
        and other.name not in given
        and not is_read(model.project, function, other.made)
    ]
    order = [found.name for found in consumer.facts.parameters]
    return sorted([(parameter, gathered.name), *also], key=lambda item: order.index(item[0]))


def _alpha_parameters(consumer: Function, name: str) -> tuple[str, ...]:
    """Optional parameters for one alpha per module; else those for the alpha of all modules."""
    optional = [
        parameter.name
        for parameter in consumer.facts.parameters
        if parameter.default is not None and parameter.kind in ("plain", "keyword")
    ]
    maps = tuple(found for found in optional if found == name or _ALPHA_MAP.fullmatch(found))
    return maps or tuple(found for found in optional if number_role(found, True) == ALPHA)


def _steps(
    model: Model, function: Function, gathered: LocalDictionary, consumer: Function, parameter: str
) -> Iterator[tuple[str, Loc, str]]:
    yield function.filename, gathered.made.loc, f"`{gathered.name}` is made here, and nothing reads it"
    for write in gathered.writes:
        yield function.filename, write.loc, "the alpha of each module of the file goes into it"
    for other in local_dictionaries(function):
        if other.name != gathered.name and other.writes and not is_read(model.project, function, other.made):
            yield function.filename, other.made.loc, f"`{other.name}` is gathered for nothing as well"
    declared = consumer.parameter(parameter)
    if declared is not None:
        yield consumer.filename, declared.loc, f"`{parameter}` is the parameter that would take it"
