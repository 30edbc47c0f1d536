"""Values as short text, for people who ask what the engine knows at a place."""

from __future__ import annotations

from lorascale_lint.provenance.values import (
    Closure,
    Const,
    Element,
    Klass,
    Library,
    Method,
    Number,
    Partial,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
)


def show(value: Value, depth: int = 3) -> str:
    """``value`` in one line."""
    match value:
        case Const(value=literal):
            return str(literal)
        case Number(scale=scale):
            return f"number {scale.formula()}" + (f" {list(scale.unknowns())}" if scale.unknowns() else "")
        case Text(parts=parts):
            return "text " + "".join(
                p if isinstance(p, str) else "{" + " ".join(sorted(p.has)) + "}" for p in parts
            )
        case Place(path=path, role=role, made=made):
            return f"{path}" + (f":{role}" if role else "") + (f" ({made})" if made else "")
        case Tensor():
            facts = [value.kind + (f" of {value.side}" if value.side else "")]
            if value.scale.formula() != "1":
                facts.append(
                    f"x {value.scale.formula()}"
                    + (f" {list(value.scale.unknowns())}" if value.scale.unknowns() else "")
                )
            facts += [word for word in ("module", "transposed", "zero", "learned") if getattr(value, word)]
            if value.dims:
                facts.append(f"({', '.join(show(d, 1) for d in value.dims)})")
            return " ".join([*facts, value.space[:3], f"<{value.origin}>" if value.origin else ""])
        case Tup(items=items):
            return f"({', '.join(show(item, depth - 1) for item in items)})" if depth else "(...)"
        case Ref(kind=kind, cls=cls, key=key):
            return f"{cls.name if cls else kind} #{key}"
        case Closure(info=info):
            return f"function {info.qualname}"
        case Klass(info=info):
            return f"class {info.qualname}"
        case Library(name=name):
            return f"library {name}"
        case Method(receiver=receiver, name=name):
            return f"{show(receiver, depth - 1)}.{name}"
        case Partial(callee=callee):
            return f"partial {show(callee, depth - 1)}"
        case Element(source=source):
            return f"element of {show(source, depth - 1)}"
        case Union(options=options):
            return " | ".join(show(option.value, depth - 1) for option in options) if depth else "..."
        case _:
            return type(value).__name__
