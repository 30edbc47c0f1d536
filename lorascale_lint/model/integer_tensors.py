"""Calls that make a tensor of an integer type of a number."""

from __future__ import annotations

import re

from lorascale_lint.facts.terms import Attr, Call, Const, Global, Sequence, Term
from lorascale_lint.model.file_readers import callee_name

_INTEGER = re.compile(r"u?int(8|16|32|64)?|long|short")
_TENSORS = frozenset("tensor as_tensor asarray array full".split())
_TYPED = frozenset("IntTensor LongTensor int8 int16 int32 int64 uint8 uint16 uint32 uint64".split())
_CASTS = frozenset(["int", "long", "short"])
_TAKES_TYPE = frozenset("to type astype".split())


def integer_tensor(call: Call) -> Term | None:
    """What is put into a tensor, or converted to one, whose type is an integer by the text of ``call``."""
    name = callee_name(call)
    type_given = next((term for key, term in call.keywords if key == "dtype"), None)
    match call:
        case Call(func=Attr(), args=(inner, *rest)) if name in _TENSORS:
            dtype = type_given if type_given is not None else rest[-1] if rest else None
            return _content(rest[0] if name == "full" and rest else inner) if _is_integer(dtype) else None
        case Call(func=Attr(), args=(inner,)) if name in _TYPED:
            return _content(inner)
        case Call(func=Attr(base=base), args=()) if name in _CASTS and not isinstance(base, Global):
            return _content(base)
        case Call(func=Attr(base=base), args=args) if name in _TAKES_TYPE:
            dtype = type_given if type_given is not None else args[-1] if args else None
            return _content(base) if _is_integer(dtype) else None
        case _:
            return None


def _is_integer(dtype: Term | None) -> bool:
    """``torch.int32``, ``np.int64``, ``"int32"``, ``int``."""
    match dtype:
        case Attr(name=name) | Global(name=name):
            return _INTEGER.fullmatch(name) is not None
        case Const(value=str(name)):
            return _INTEGER.fullmatch(name) is not None
        case _:
            return False


def _content(term: Term) -> Term:
    """The one number of ``[alpha]`` or ``torch.tensor(alpha)``."""
    while True:
        match term:
            case Sequence(items=(inner,), repeated=False):
                term = inner
            case Call(func=Attr(), args=(inner, *_)) if callee_name(term) in _TENSORS:
                term = inner
            case _:
                return term
