"""The ways by which what is in a value came."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.provenance.values import Hole, Number, Place, Tensor, Text, Tup, Value, options


def origins(value: Value) -> Iterator[str]:
    """The ways by which tensors and numbers in a value are named."""
    for option in options(value):
        match option.value:
            case Place(path=path):
                yield path
            case Tensor(origin=origin, scale=scale):
                yield origin
                yield from (symbol.origin for symbol, _ in scale.powers)
            case Number(scale=scale):
                yield from (symbol.origin for symbol, _ in scale.powers)
            case Text(parts=parts):
                yield from (str(part.name) for part in parts if isinstance(part, Hole))
            case Tup(items=items):
                for item in items:
                    yield from origins(item)
