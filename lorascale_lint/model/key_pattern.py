"""The literal parts of the keys of adapter dictionaries."""

from __future__ import annotations

from lorascale_lint.facts.terms import Attr, Call, Const, Op, Term, Text


def key_pattern(term: Term) -> str:
    """The literal parts of a key expression, ``*`` for what is computed: ``*.lora_A``."""
    match term:
        case Const(value=str() as text):
            return text
        case Text(parts=parts):
            return "".join(key_pattern(part) for part in parts)
        case Op(sign="+", left=left, right=right):
            return key_pattern(left) + key_pattern(right)
        case Call(func=Attr(base=base, name="replace"), args=args):
            pattern = key_pattern(base)  # once: such calls come in long chains
            return key_pattern(args[-1]) if len(args) == 2 and pattern == "*" else pattern
        case _:
            return "*"
