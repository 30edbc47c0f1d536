"""Calls that read tensors from files, under the names that torch, safetensors and their users give them."""

from __future__ import annotations

from lorascale_lint.facts.terms import Attr, Call, Global, Term

READERS = frozenset(
    "load_file safe_open load_safetensors load_torch_file load_state_dict lora_state_dict get_tensor "
    "load_safetensors_weights load_lora_state_dict read_state_dict load_peft_weights safe_load_file "
    "safetensors_load load_lora_weights_file".split()
)
"""Names that say by themselves that tensors are read."""
_LOADERS = frozenset("torch mx mlx safetensors np numpy pickle joblib st".split())
"""Libraries whose plain ``load`` reads tensors."""


def callee_name(call: Call) -> str:
    """The last name of what is called, or the empty string."""
    return call.func.name if isinstance(call.func, Attr | Global) else ""


def reads_tensors(term: Term) -> bool:
    """Is ``term`` a call that reads tensors from a file?"""
    if not isinstance(term, Call):
        return False
    name = callee_name(term)
    if name == "load" and isinstance(term.func, Attr):
        base = term.func.base
        while isinstance(base, Attr):
            base = base.base
        return isinstance(base, Global) and base.name in _LOADERS
    return name in READERS
