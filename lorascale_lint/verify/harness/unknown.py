"""What a parameter may be whose name says nothing: by what the code does with it, the likeliest first.

The possibilities are tried; a wrong one makes no sum of base and B @ A, or raises.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from lorascale_lint.knowledge.roles import words as word_list
from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.description import Form, Role, Value
from lorascale_lint.verify.harness.uses import OF_LAYERS, OF_TENSORS, Used

# A list from which factors are taken, one by one.
_PAIRS = tuple(
    tuple((str(number), Value(role)) for number, role in enumerate(roles))
    for roles in ((Role.B, Role.A), (Role.A, Role.B))
)
_TENSORS = ("Tensor", "Parameter", "ndarray", "Array")
_LAYERS = ("Module", "Linear", "Conv", "Embedding")


def packed(annotation: str) -> Form | None:
    """Whether an annotation speaks of a layer or of a tensor."""
    if any(word in annotation for word in _LAYERS):
        return Form.MODULE
    return Form.PLAIN if any(word in annotation for word in _TENSORS) else None


def annotation_of(parameter: inspect.Parameter) -> str:
    """As it was written, where that can be known."""
    if parameter.annotation is parameter.empty:
        return ""
    found = parameter.annotation
    return (found if isinstance(found, str) else getattr(found, "__name__", "") or str(found)).strip()


def possible(name: str, parameter: inspect.Parameter, used: Used) -> tuple[Value, ...]:
    """What a parameter without a default may be; () if nobody knows."""
    return tuple(dict.fromkeys(_possible(name, annotation_of(parameter), used)))


def _possible(name: str, annotation: str, used: Used) -> Iterator[Value]:
    said = set(word_list(name))
    last = list(word_list(name)[-1:])
    plain = annotation.replace("Optional[", "").rstrip("]").strip()
    if last == ["device"]:
        yield Value(Role.LITERAL, literal="cpu")
    elif plain == "bool":
        yield Value(Role.LITERAL, literal=False)
    elif plain == "str" or (not annotation and last and last[0] in words.TEXTS):
        yield Value(Role.LITERAL, literal="layer")
    elif said & words.OF_STARTS and annotation in ("", "float"):
        yield Value(Role.LITERAL, literal=0.01)
    elif "rank" in said and annotation in ("", "int"):
        # A second one, of something beside the delta.
        yield from (Value(Role.LITERAL, literal=0), Value(Role.RANK))
    elif said & words.HEADS:
        yield Value(Role.LITERAL, literal=5)
    elif used.made and not annotation:
        yield from (Value(Role.CLASS, literal=f"torch.nn:{kind}") for kind in _kinds(said))
    elif packed(annotation) is Form.MODULE or used.attributes & OF_LAYERS:
        yield Value(Role.BASE, Form.MODULE)
    elif words.is_of_adapters(name) and "pop" in used.attributes and "dict" not in annotation.lower():
        yield from (Value(Role.LIST, parts=parts) for parts in _PAIRS)
    elif (fields := tuple(fields_of(used))) and packed(annotation) is None:
        yield Value(Role.OBJECT, parts=fields)
    elif packed(annotation) is Form.PLAIN or used.attributes & OF_TENSORS:
        yield Value(Role.BASE)
    elif "Callable" in annotation:
        return
    elif annotation in ("", "int", "float", "Any"):
        yield from _numbers(said, annotation)
        if not annotation and said & words.LAYERS:
            yield Value(Role.BASE, Form.MODULE)
    elif plain.lower().startswith("list"):
        yield Value(Role.LIST)
    elif plain.lower().startswith(("sequence", "iterable", "set", "tuple")):
        yield Value(Role.LITERAL, literal=())
    elif plain.lower().startswith(("dict", "mapping")):
        yield Value(Role.TABLE)
    if {"weight", "layer", "linear", "module"} & {*last} and packed(annotation) is not None:
        yield Value(Role.BASE)


def _kinds(said: set[str]) -> tuple[str, ...]:
    if "conv" in said:
        return ("Conv2d", "Conv1d", "Conv3d")
    return ("Embedding", "Linear") if said & {"embedding", "embed"} else ("Linear", "Conv2d", "Embedding")


def _numbers(said: set[str], annotation: str) -> Iterator[Value]:
    if annotation == "float":
        yield Value(Role.LITERAL, literal=1.0)
        return
    if said & words.OF_INPUTS and not said & words.OF_OUTPUTS:
        yield Value(Role.IN_FEATURES)
    elif said & words.OF_OUTPUTS and not said & words.OF_INPUTS:
        yield Value(Role.OUT_FEATURES)
    elif said & words.OF_BOTH:
        yield Value(Role.BOTH_FEATURES)
    elif said & words.COUNTS:
        yield Value(Role.LITERAL, literal=1)
    elif annotation == "int":
        yield from (Value(Role.BOTH_FEATURES), Value(Role.RANK), Value(Role.LITERAL, literal=1))


def fields_of(used: Used) -> Iterator[tuple[str, Value]]:
    """The numbers of an adapter and sizes of a layer among what a configuration is asked for.

    None of it: it is no configuration of LoRA.
    """
    known: list[tuple[str, Value]] = []
    for name in sorted(used.attributes | used.keys):
        field = words.FIELDS.get(name, words.role_of(name))
        if isinstance(field, Role) and field in _NUMBERS:
            known.append((name, Value(field)))
        elif field is not None and not isinstance(field, Role):
            known.append((name, Value(Role.LITERAL, literal=field)))
        elif field is None and (sizes := list(_numbers(set(word_list(name)), ""))):
            known.append((name, sizes[0]))
    if any(value.role in (Role.ALPHA, Role.RANK, Role.SCALE) for _, value in known):
        yield from known


_SIZES = frozenset({Role.IN_FEATURES, Role.OUT_FEATURES, Role.BOTH_FEATURES})
_NUMBERS = _SIZES | {Role.ALPHA, Role.RANK, Role.SCALE, Role.STRENGTH}
