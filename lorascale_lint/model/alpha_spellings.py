"""Loaders that know alpha under one rare key, and take files of formats that spell it otherwise."""

from __future__ import annotations

from lorascale_lint.facts.terms import Call, Const, each_term
from lorascale_lint.model.adapter_keys import alpha_mentions, key_traffic
from lorascale_lint.model.project import Function, Project

_RARE = "lora_alpha"
"""A key of files that a project writes for itself; kohya, ComfyUI and their kin write ``.alpha``."""

_FOREIGN = ("diffusion_model.", "lora_unet", "lora_te", "lora_down", "lora_up", ".lora_down", ".lora_up")
"""Prefixes and factor keys of the formats that state alpha as ``.alpha``."""


def foreign_name(project: Project, function: Function) -> Const | None:
    """The literal that shows that a loader, which looks up ``*.lora_alpha``, takes other formats too.

    None if it knows another spelling of alpha in anything it calls.
    """
    spellings = {
        word.strip("\"'.*{}").removesuffix(".weight") for _, word in alpha_mentions(project, function)
    }
    looked_up = any(
        use.how == "read" and use.pattern.startswith("*.") and use.pattern.endswith(_RARE)
        for use in key_traffic(function).uses
    )
    if spellings != {_RARE} or not looked_up:
        return None
    for _, term in each_term(function.facts.events):
        for argument in term.args if isinstance(term, Call) else ():
            if isinstance(argument, Const) and str(argument.value).startswith(_FOREIGN):
                return argument
    return None


def reads_tensors_only(project: Project, function: Function) -> bool:
    """Does a loader know several spellings of ``*.lora_alpha``, and nothing beside the tensors?"""
    beside = ("adapter_config", "metadata")
    words = (word for current in project.reachable(function, 3) for word in current.facts.words)
    return (
        len(_spellings(project, function)) > 1
        and _looks_up_rare(function)
        and not any(part in word for word in words for part in beside)
    )


def _spellings(project: Project, function: Function) -> set[str]:
    return {word.strip("\"'.*{}").removesuffix(".weight") for _, word in alpha_mentions(project, function)}


def _looks_up_rare(function: Function) -> bool:
    return any(
        use.how == "read" and use.pattern.startswith("*.") and use.pattern.endswith(_RARE)
        for use in key_traffic(function).uses
    )
