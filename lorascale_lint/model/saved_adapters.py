"""Code that trains an adapter with PEFT, and how it saves the factors.

What a saver can't be seen to tell is not told only if nothing beside it may tell it: see `tells_alpha`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

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
    Op,
    Param,
    Term,
    each_term,
    source_text,
    walk,
)
from lorascale_lint.model.adapter_flow import local_dictionaries, same_place
from lorascale_lint.model.project import Function, Project, bound_arguments, is_receiver
from lorascale_lint.model.scale import ALPHA
from lorascale_lint.model.vocabulary import number_role

_INJECTS = frozenset(["inject_adapter_in_model", "add_adapter", "get_peft_model"])
_TELLS = re.compile(
    r"(?i)alpha|meta_?data|save_pretrained|yaml|json|hparams|hyper_?param|scaling|(adapter|lora|peft)_?config"
    r"|save_\w*config|omegaconf|as_?dict|to_dict|vars\b"
)
"""Words of code that may write alpha in some form."""
_CONFIG = re.compile(r"(?i)(^|_)(config|cfg|args)$")
_CLASS_TELLS = re.compile(
    r"(?i)meta_?data|adapter_config|save_pretrained|save_\w*config|save_hyperparameters|\.json"
)
_ANY = re.compile(".*")
_DUMPS = re.compile(r"dumps?|safe_dump|save|write\w*|to_json\w*")
_SELECTS = frozenset(
    f"{quote}{word}{quote}" for word in ("lora_", "lora", ".lora_", "lora_A") for quote in "\"'"
) | {"requires_grad"}


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Where an adapter is put into a model; ``wrapped`` by `get_peft_model`, whose user may keep the rest."""

    function: Function
    config: Call
    wrapped: bool


def trainings(project: Project, function: Function) -> Iterator[Training]:
    """PEFT configurations with an alpha that is not the rank, injected here or in a method beside."""
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call) or _callee(call) != "LoraConfig" or call.spread:
            continue
        given = dict(call.keywords)
        rank, alpha = given.get("r"), given.get("lora_alpha")
        if rank is None or alpha is None or source_text(rank) == source_text(alpha):
            continue
        if not (_is_configured(project, function, alpha) or _is_written_apart(rank, alpha)):
            continue
        users = set(_users(project, function, call))
        if users:
            yield Training(function, call, users <= {"get_peft_model"})


def _users(project: Project, function: Function, config: Call) -> Iterator[str]:
    """Functions that put ``config`` into a model: called with it, or with the attribute that keeps it."""
    kept = {
        event.target.name
        for event in function.events("write")
        if isinstance(event.target, Attr) and event.value is config
    }
    for other in neighbours(project, function):
        for event in other.events("call"):
            user = event.value
            if not isinstance(user, Call) or _callee(user) not in _INJECTS:
                continue
            for part in walk(*user.args, *dict(user.keywords).values()):
                if part is config or (
                    isinstance(part, Attr) and part.name in kept and is_receiver(part.base, other)
                ):
                    yield _callee(user)


def _callee(call: Call) -> str:
    return call.func.name if isinstance(call.func, Attr | Global) else ""


def _is_configured(project: Project, function: Function, alpha: Term) -> bool:
    """Can a user set this alpha apart from the rank: is it an option, or a parameter somebody gives?"""
    match alpha:
        case Attr(name=name) | Item(key=Const(value=str() as name)):
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


def _is_written_apart(rank: Term, alpha: Term) -> bool:
    """Are both literals that differ, or is alpha a literal multiple of the rank?"""
    match alpha:
        case Const(value=value):
            return isinstance(rank, Const) and rank.value != value
        case (
            Op(sign="*" | "/", left=left, right=Const(value=value))
            | Op(sign="*", left=Const(value=value), right=left)
        ):
            return value != 1 and source_text(left) == source_text(rank)
        case _:
            return False


def neighbours(project: Project, function: Function) -> Iterator[Function]:
    """Methods of the class and the hooks defined in them, or the other functions of a script."""
    owner = function.owner
    for other in project.functions.values():
        if other.filename != function.filename:
            continue
        nested = owner is not None and other.facts.qualname.startswith(f"{owner.name}.")
        if nested or (owner is None and other.owner is None):
            yield other


def saves_factors(project: Project, function: Function) -> Event | None:
    """The call that saves a state dict of trained factors."""
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call) or call.spread:
            continue
        first = call.args[0] if call.args else dict(call.keywords).get("tensors")
        name = project.absolute_name(function, call.func)
        match name.rpartition(".")[2] or _callee(call):
            case "save_lora_weights":
                given = (*call.args[1:], *(value for _, value in call.keywords))
                saved = any(_is_factors(project, function, value) for value in given)
            case "save_file":
                saved = first is not None and _is_factors(project, function, first)
            case "save":
                saved = (
                    (name == "torch.save" or source_text(call.func).endswith("accelerator.save"))
                    and first is not None
                    and _is_factors(project, function, first)
                )
            case "update":  # Lightning's hook, where nothing else is left in the checkpoint
                alone = function.facts.name == "on_save_checkpoint" and "clear" in function.facts.words
                saved = alone and first is not None and _is_factors(project, function, first)
            case _:
                saved = False
        if saved:
            return event
    return None


def _is_factors(project: Project, function: Function, term: Term, depth: int = 2) -> bool:
    """Is this the state dict of the adapter: PEFT's, or the trainable tensors that a loop collects?"""
    if isinstance(term, Mapping) and term.pairs and not _is_selection(term):
        return False  # a training state, which the same configuration resumes
    parts = walk(term)
    if any(isinstance(part, Call) and _callee(part) == "get_peft_model_state_dict" for part in parts):
        return True
    if any(isinstance(part, Mapping) and _is_selection(part) for part in parts):
        return True
    if depth and isinstance(term, Param) and term.function == function.facts.qualname:
        sites = project.call_sites(function)
        given = [(bound_arguments(site.call, function).get(term.name), site.caller) for site in sites]
        return bool(given) and all(
            argument is not None and _is_factors(project, caller, argument, depth - 1)
            for argument, caller in given
        )
    if depth and isinstance(term, Call):
        callees = project.callees(term.func, function, function.owner)
        returned = [(e.value, f) for f in callees if isinstance(f, Function) for e in f.events("return")]
        if returned and all(_is_factors(project, callee, value, depth - 1) for value, callee in returned):
            return True
    if not _SELECTS & function.facts.words:
        return False
    for gathered in local_dictionaries(function):
        copied = gathered.writes and all(_is_copied(write) for write in gathered.writes)
        if copied and any(same_place(part, gathered.made.value) for part in parts):
            return True
    return False


def _is_selection(term: Mapping) -> bool:
    """``{name: tensor for name, tensor in ... if "lora" in name}``, or those that require gradients."""
    if len(term.pairs) != 1 or not any(isinstance(part, Element) for part in walk(term.pairs[0][0])):
        return False
    return any(
        guard.holds
        and (
            (isinstance(part, Attr) and part.name == "requires_grad")
            or (isinstance(part, Const) and f'"{part.value}"' in _SELECTS)
        )
        for guard in term.guards
        for part in walk(guard.test)
    )


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


def tells_alpha(project: Project, training: Training, saver: Function) -> bool:
    """May the saver, what it calls, or its class write alpha in some form?"""
    if any(
        any(_TELLS.search(word) for word in near.facts.words) or _hands_on_config(near, _ANY)
        for near in project.reachable(saver, 3)
    ):
        return True
    callers = (site.caller for site in project.call_sites(saver))
    return any(
        any(_CLASS_TELLS.search(word) for word in near.facts.words) or _hands_on_config(near, _DUMPS)
        for near in (*neighbours(project, training.function), *callers)
    )


def _hands_on_config(function: Function, callees: re.Pattern[str]) -> bool:
    """Is a whole configuration given to a call, which may write it? Its fields alone say nothing."""
    for _, term in each_term(function.events("call", "bind")):
        if isinstance(term, Call) and callees.fullmatch(_callee(term)):
            given = [*term.args, *dict(term.keywords).values()]
            given += [argument for part in given if isinstance(part, Call) for argument in part.args]
            if any(isinstance(part, Attr | Param | Global) and _CONFIG.search(part.name) for part in given):
                return True
    return False
