"""The literal parts of the keys of adapter dictionaries."""

from __future__ import annotations

import re
from collections.abc import Callable

from lorascale_lint.facts.terms import Attr, Call, Const, Element, Global, Op, Sequence, Term, Text
from lorascale_lint.model.vocabulary import key_role

_FIELD = re.compile(r"\{[^{}]*\}")
_CONVERSION = re.compile(r"%(?:\(\w+\))?[-+ #0-9.]*[a-z]")


def key_pattern(term: Term, constant: Callable[[Global], str | None] | None = None) -> str:
    """The literal parts of a key expression, ``*`` for what is computed: ``*.lora_A``.

    ``constant`` gives the text of a module's constant, where the caller can look it up.
    """
    match term:
        case Const(value=str() as text):
            return text
        case Global() if constant is not None:
            found = constant(term)
            return "*" if found is None else found
        case Text(parts=parts):
            return "".join(key_pattern(part, constant) for part in parts)
        case Op(sign="+", left=left, right=right):
            return key_pattern(left, constant) + key_pattern(right, constant)
        case Op(sign="%", left=left):
            return _CONVERSION.sub("*", key_pattern(left, constant))
        case Call(func=Attr(base=base, name="replace"), args=args):
            pattern = key_pattern(base, constant)  # once: such calls come in long chains
            return key_pattern(args[-1], constant) if len(args) == 2 and pattern == "*" else pattern
        case Call(func=Attr(base=base, name="format")):
            return _FIELD.sub("*", key_pattern(base, constant))
        case Element(source=Sequence(items=items, repeated=False)) if items:
            texts = [item.value for item in items if isinstance(item, Const) and isinstance(item.value, str)]
            roles = {key_role(text) for text in texts}
            return texts[0] if len(texts) == len(items) and len(roles) == 1 and None not in roles else "*"
        case Call(func=Attr(base=base, name="join"), args=(Sequence(items=items, repeated=False),)):
            return key_pattern(base, constant).join(key_pattern(item, constant) for item in items)
        case _:
            return "*"
