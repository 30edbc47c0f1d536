"""What a call gives: a product of tensors, what a project function returns, an activation behind a module."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from lorascale_lint.facts.extract import dotted_name
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Element,
    Global,
    Item,
    Sequence,
    Term,
)
from lorascale_lint.model.factor_shapes import (
    module_side,
    registered_side,
)
from lorascale_lint.model.frames import Frame, origin
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.named_values import KEEPS, TRANSPOSES, is_computed
from lorascale_lint.model.project import (
    Class,
    Function,
    bound_arguments,
    is_receiver,
    stored_values,
)
from lorascale_lint.model.scale import ONE
from lorascale_lint.model.values import (
    ALTERNATIVE_LIMIT,
    UNKNOWN_VALUE,
    Alternative,
    Delta,
    Factor,
    Number,
    Tensor,
    Through,
    Value,
    contradict,
    kronecker,
    map_values,
    power,
    product,
    through,
    transposed,
    unordered_product,
)
from lorascale_lint.model.vocabulary import (
    key_role,
)

if TYPE_CHECKING:
    from lorascale_lint.model.evaluate import Evaluator

VIA_LIMIT = 4
CALL_LIMIT = 6
_PRODUCTS = frozenset("mm matmul bmm dot linear conv2d kron einsum chain_matmul multi_dot".split())
_WRAPPERS = frozenset(
    "Parameter as_tensor tensor asarray array float int deepcopy clone_tensor FloatTensor cast".split()
)
_MAKERS = frozenset(
    "zeros ones empty randn rand normal full zeros_like ones_like empty_like randn_like rand_like "
    "linear conv2d conv1d conv3d embedding new_zeros new_ones new_empty new_full normal uniform "
    "truncated_normal create_parameter add_weight param".split()
)
_MID_MODULE = re.compile(r"lora_mid|mid")
_MULTIPLIES = frozenset(["mul", "mul_", "multiply", "multiply_"])
_DIVIDES = frozenset(["div", "div_", "divide", "divide_", "true_divide"])
_TRANSPARENT = re.compile(
    r"(^|\.)(staticmethod|classmethod|property|cached_property|abstractmethod|override|overload|no_grad|"
    r"inference_mode|enable_grad|compile|jit|script|cache|lru_cache|torch_dynamo|wraps|autocast|disable|"
    r"ignore|unused|export|allow_in_graph|contextmanager|mx\.compile|nn\.compact|compact|profile)\b"
)


@dataclass
class Calls:
    """Evaluates calls for ``evaluator``; frames are kept by function and arguments."""

    evaluator: Evaluator
    _calls: dict[tuple[object, ...], Frame] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.project = self.evaluator.project

    def of(self, term: Call, frame: Frame) -> tuple[Alternative, ...]:
        func = term.func
        name = func.name if isinstance(func, Attr | Global) else ""
        receiver = func.base if isinstance(func, Attr) else None
        library = receiver is None or _is_library(self.project.absolute_name(frame.function, func))
        operands = term.args if library or receiver is None else (receiver, *term.args)
        if name in _PRODUCTS and len(operands) >= 2:
            return self._product_call(name, operands, frame)
        if name == "embedding" and library and len(operands) >= 2:  # rows of the weight: one-hot @ weight
            return self.pairwise(product, operands[0], operands[1], frame)
        if name in _MULTIPLIES and len(operands) == 2:
            return self.evaluator.combine("*", operands[0], operands[1], frame)
        if name in _DIVIDES and len(operands) == 2:
            return self.evaluator.combine("/", operands[0], operands[1], frame)
        if name == "sqrt" and len(operands) == 1:
            return map_values(lambda v: power(v, Fraction(1, 2)), self.evaluator.values(operands[0], frame))
        if name in TRANSPOSES and operands:
            return map_values(transposed, self.evaluator.values(operands[0], frame))
        if name == "getattr" and len(term.args) >= 2 and isinstance(term.args[1], Const):
            return self.evaluator.values(Attr(term.args[0], str(term.args[1].value), term.loc), frame)
        if name in ("size",) and receiver is not None:
            return (Alternative(self.evaluator.lookups.extent(receiver, frame)),)
        followed = self._project_call(term, frame)
        if followed is not None:
            return followed
        keyed = name in ("pop", "get_tensor") and bool(term.args)
        keyed = keyed and bool(
            key_role(key_pattern(term.args[0])) or self.evaluator.lookups.bound_side(term, frame)
        )
        if (name == "get" or keyed) and receiver is not None and term.args:
            return self.evaluator.lookups.item(Item(receiver, term.args[0], term.loc), frame)
        if name in _WRAPPERS and term.args:
            return self.evaluator.values(term.args[0], frame)
        if name in KEEPS and receiver is not None:
            return self.evaluator.values(receiver, frame)
        if name in ("cat", "concat", "stack", "concatenate") and term.args:
            return self._joined(term.args[0], frame)
        return self._module_call(term, frame)

    def _product_call(self, name: str, operands: tuple[Term, ...], frame: Frame) -> tuple[Alternative, ...]:
        if name == "linear":
            return self.pairwise(lambda x, w: product(x, transposed(w)), operands[0], operands[1], frame)
        if name == "kron":
            return self.pairwise(kronecker, operands[0], operands[1], frame)
        if name in ("einsum", "conv2d"):
            first, second = operands[-2:] if name == "einsum" else operands[:2]
            return self.pairwise(unordered_product, first, second, frame)
        return self.pairwise(product, operands[0], operands[1], frame)

    def pairwise(
        self, combine: Callable[[Value, Value], Value], left: Term, right: Term, frame: Frame
    ) -> tuple[Alternative, ...]:
        return tuple(
            Alternative(
                combine(first.value, second.value),
                (*first.guards, *second.guards),
                (*first.via, *second.via)[:VIA_LIMIT],
            )
            for first in self.evaluator.values(left, frame)
            for second in self.evaluator.values(right, frame)
            if not contradict(first.guards, second.guards)
        )[: ALTERNATIVE_LIMIT * 2] or (Alternative(UNKNOWN_VALUE),)

    def _project_call(self, term: Call, frame: Frame) -> tuple[Alternative, ...] | None:
        """Values returned by the project functions that ``term`` calls; None if it calls none."""
        entered = self.entered(term, frame)
        if entered is None:
            return None
        return tuple(a for function, inner in entered for a in self.returned(function, inner))

    def entered(self, term: Call, frame: Frame) -> list[tuple[Function, Frame]] | None:
        """The project functions that ``term`` calls, each with the frame of this call."""
        self_class = frame.self_class
        if len(frame.entered) >= CALL_LIMIT:  # each call has its own frame: work grows with each level
            return None
        callees = self.project.callees(term.func, frame.function, self_class)
        functions = [item for item in callees if isinstance(item, Function)]
        if not functions or len(functions) != len(callees) or term.spread:
            return None
        same_object = isinstance(term.func, Attr) and is_receiver(term.func.base, frame.function)
        if isinstance(term.func, Attr) and self_class is not None:  # `self.lora(x)` runs another object's
            same_object = same_object and self.project.method(self_class, term.func.name) is not None
        if same_object and isinstance(term.func, Attr) and self_class is not None:
            functions = list(self.project.overrides(self_class, term.func.name)) or functions
        if not all(map(is_undecorated, functions)):
            return None
        entered = (*frame.entered, frame.function)
        if any(function in entered for function in functions):
            return None
        found: list[tuple[Function, Frame]] = []
        for function in functions:
            bound = bound_arguments(term, function)
            arguments = {name: (argument, frame) for name, argument in bound.items()}
            owner = self_class if same_object else function.owner
            found.append((function, self.frame(function, owner, arguments, entered)))
        return found

    def frame(
        self,
        function: Function,
        owner: Class | None,
        arguments: dict[str, tuple[Term, Frame]],
        entered: tuple[Function, ...] = (),
    ) -> Frame:
        """One frame for all calls with the same arguments: helpers that call helpers stay linear work."""
        arguments = {name: origin(term, frame) for name, (term, frame) in arguments.items()}
        given = ((name, id(term), id(frame)) for name, (term, frame) in sorted(arguments.items()))
        key = (id(function), id(owner), len(entered), *given)
        if key not in self._calls:
            self._calls[key] = Frame(function, owner, arguments, entered)
            self.evaluator.alive.append(tuple(arguments.values()))
        return self._calls[key]

    def is_library_call(self, call: Call, frame: Frame) -> bool:
        """Is ``call`` one of a tensor library's functions, and not a method of a tensor?"""
        return _is_library(self.project.absolute_name(frame.function, call.func))

    def returned(self, function: Function, frame: Frame) -> tuple[Alternative, ...]:
        """Values of the return statements of ``function`` in ``frame``."""
        found = [
            replace(
                alternative,
                guards=(*event.guards[-2:], *alternative.guards),
                via=((function, event.loc), *alternative.via)[:VIA_LIMIT],
            )
            for event in function.events("return")
            for alternative in self.evaluator.values(event.value, frame)
        ]
        return tuple(found) or (Alternative(UNKNOWN_VALUE),)

    def _joined(self, term: Term, frame: Frame) -> tuple[Alternative, ...]:
        items = term.items if isinstance(term, Sequence) else stored_values(Element(term, term.loc))
        found = tuple(a for item in items for a in self.evaluator.values(item, frame))
        return found or (Alternative(Tensor()),)

    def _module_call(self, term: Call, frame: Frame) -> tuple[Alternative, ...]:
        """A call of a factor module (``self.lora_down(x)``), of dropout, or of something unknown."""
        callee = self.evaluator.values(term.func, frame)
        factors = [a for a in callee if isinstance(a.value, Factor)]
        if factors and term.args:
            return tuple(
                Alternative(through(module.value, argument.value), (*module.guards, *argument.guards))
                for module in factors
                for argument in self.evaluator.values(term.args[0], frame)
                if isinstance(module.value, Factor)
            )
        if term.args and self.is_low_rank_sequence(term.func, frame):
            inputs = self.evaluator.values(term.args[0], frame)
            scales = {a.value.scale if isinstance(a.value, Tensor) else ONE for a in inputs}
            return tuple(Alternative(Delta(scale, "activation")) for scale in scales)
        name = dotted_name(term.func).lower() or getattr(term.func, "name", "").lower()
        arguments = [self.evaluator.single(argument, frame) for argument in term.args]
        if "dropout" in name and arguments:
            return self.evaluator.values(term.args[0], frame)
        if len(arguments) == 1 and _MID_MODULE.fullmatch(getattr(term.func, "name", "")):
            return self.evaluator.values(
                term.args[0], frame
            )  # a Tucker core between the factors has no scale
        if any(isinstance(value, Factor | Through | Delta) for value in arguments):
            return (Alternative(UNKNOWN_VALUE),)
        if any(isinstance(value, Number) and is_computed(value.scale) for value in arguments):
            return (Alternative(UNKNOWN_VALUE),)
        registered = registered_side(term)
        if registered is not None:
            return (Alternative(Factor("A" if registered == "A" else "B")),)
        takes_tensor = any(isinstance(value, Tensor) for value in arguments) or isinstance(term.func, Attr)
        last = name.rpartition(".")[2]
        opaque = takes_tensor and last not in _MAKERS
        return (Alternative(Tensor(opaque=opaque, zero=last in ("zeros", "zeros_like"))),)

    def is_low_rank_sequence(self, module: Term, frame: Frame) -> bool:
        """Is ``self.lora`` made as both factors in sequence: ``Sequential(Linear(n, r), Linear(r, m))``?"""
        if not (isinstance(module, Attr) and frame.self_class and is_receiver(module.base, frame.function)):
            return False
        if not self.evaluator.in_lora_context(frame.function) or self.project.method(
            frame.self_class, module.name
        ):
            return False
        writes = self.project.writes(frame.self_class, module.name)
        return bool(writes) and all(
            module_side(
                self.evaluator, write.event.value, self.evaluator.frame(write.function, frame.self_class)
            )
            == "delta"
            for write in writes
        )


def is_undecorated(function: Function) -> bool:
    """Does a caller of ``function`` get what its body returns?"""
    return all(map(_is_transparent, function.facts.decorators))


def _is_transparent(decorator: str) -> bool:
    """Does a decorator leave alone what a function returns?"""
    return _TRANSPARENT.search(decorator) is not None


def _is_library(name: str) -> bool:
    return name.partition(".")[0] in {
        "torch",
        "jax",
        "jnp",
        "numpy",
        "np",
        "mx",
        "mlx",
        "F",
        "keras",
        "math",
        "ops",
    }
