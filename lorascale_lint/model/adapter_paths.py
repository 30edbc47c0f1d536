"""Adapter networks of any kind (LoRA, LoHa, LoKr, GLoRA): which method applies them by which scalars.

A method that combines the network's tensors makes a delta: for the weights, or, if it is given an
activation, on the way of the activation. The scalars are attributes: the trained scale, or a learned one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Loc,
    Logic,
    Not,
    Op,
    Term,
    each_term,
    walk,
)
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Class, Function, is_receiver
from lorascale_lint.model.values import Number
from lorascale_lint.model.vocabulary import factor_side

_TENSORS = re.compile(
    r"(?i)_?(\w*(lora|lokr|hada|loha|locon|dylora|glora|adapter)_?(w?\d?_?[abt]?\d?|up|down|mid|core|in|out)"
    r"(_list|_weight|_proj)?|w[12](_?[ab])?|[abt][12]|up|down|mid|(up|down)_list|lora_(up|down|mid)\w*)"
)
_ACTIVATION = re.compile(
    r"x|h|z|hidden(_states?)?|inputs?|input_\w+|activations?|features?|tensor_in|embeds?|args"
)
_NO_DELTA = re.compile(
    r"(?i)init|state_dict|load|save|hook|reset|norm|repr|parameters|restore|make_module|set_|apply_to|"
    r"requires|backup|train|eval\b|export|build|create|update_layer|__"
)
_CALLS = frozenset(["forward", "__call__", "call"])
_KEEPS = frozenset("to item float view reshape data type unsqueeze squeeze expand detach clone cuda".split())
_TIMES = frozenset("mul mul_ multiply multiply_".split())
_SCALE_NAME = re.compile(r"(?i)(?!.*dropout).*(alpha|gamma|scaling|scale)(?!r)")
_MAKES_SCALAR = frozenset("tensor zeros ones full empty scalar_tensor".split())
CLASS_LIMIT = 40


@dataclass(frozen=True, slots=True, eq=False)
class ScalarUse:
    """``self.name`` multiplied onto the delta that ``function`` makes, at ``loc``."""

    function: Function
    name: str
    loc: Loc
    trained: bool


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """``missing`` makes the delta without the scalar that another path multiplies on in ``use``."""

    use: ScalarUse
    missing: Function
    event: Event
    activation: bool


class AdapterPaths:
    """The paths of one class, as an instance of it sees them."""

    def __init__(self, model: Model, cls: Class) -> None:
        self.model = model
        self.cls = cls
        self.methods = tuple(
            dict.fromkeys(
                found
                for ancestor in model.project.ancestors(cls)
                for name in ancestor.facts.methods
                if (found := model.project.method(cls, name)) is not None
            )
        )
        self.mentions = {method: frozenset(_own_attributes(method)) for method in self.methods}
        tensors = {m: {n for n in names if self._is_tensor(n)} for m, names in self.mentions.items()}
        makers = [
            m
            for m in self.methods
            if len(tensors[m]) >= 2 and not _NO_DELTA.search(m.facts.name) and not _only_answers(m)
        ]
        self.tensors = tensors
        self.activations = [m for m in makers if _takes_activation(m)]
        self.weights = [m for m in makers if not _takes_activation(m)]

    def left_out(self) -> Iterator[LeftOut]:
        """Activation paths without a scalar of a weight path for the same tensors."""
        if not self.activations or not self.weights or self._folds():
            return
        for missing in self.activations:
            reach = self._reach(missing)
            if any(maker in reach for maker in self.weights) or not self._is_called(missing):
                continue
            seen = frozenset(name for method in reach for name in self.mentions[method])
            supplied = self._supplied(missing, {missing})
            reported: set[str] = set()
            for maker in self.weights:
                if len(self.tensors[maker] & self.tensors[missing]) < 2:
                    continue
                for use in self._scalars(maker):
                    if use.name in seen or use.name in supplied or use.name in reported:
                        continue
                    if use.trained and any(_SCALE_NAME.fullmatch(name) for name in (*seen, *supplied)):
                        continue
                    returns = [e for e in missing.events("return") if not _is_none(e.value)]
                    if returns:
                        reported.add(use.name)
                        yield LeftOut(use, missing, returns[-1], True)

    # ---- what methods do ------------------------------------------------------------------

    def _is_tensor(self, name: str) -> bool:
        return factor_side(name, True) is not None or _TENSORS.fullmatch(name) is not None

    def _reach(self, method: Function) -> tuple[Function, ...]:
        """``method`` and the methods and properties of the object that it uses."""
        found: dict[Function, None] = {method: None}
        pending = [method]
        while pending:
            for name in self.mentions[pending.pop()]:
                used = self.model.project.method(self.cls, name)
                if used is not None and used not in found and used in self.mentions:
                    found[used] = None
                    pending.append(used)
        return tuple(found)

    def _is_called(self, method: Function) -> bool:
        if method.facts.name in _CALLS:
            return True
        return any(method.facts.name in names for other, names in self.mentions.items() if other != method)

    def _scalars(self, maker: Function) -> Iterator[ScalarUse]:
        """Scalars multiplied onto the delta of ``maker``: there, or onto what it returns."""
        for event, term in each_term(maker.facts.events):
            if event.kind == "test":
                continue
            for operand in _multiplied(term):
                attribute = _stripped(operand)
                if isinstance(attribute, Attr) and is_receiver(attribute.base, maker):
                    yield from self._scalar(maker, attribute, term.loc)
        for caller in self.methods:
            for _, term in each_term(caller.facts.events):
                if isinstance(term, Op) and term.sign == "*":
                    for operand, other in ((term.left, term.right), (term.right, term.left)):
                        attribute = _stripped(operand)
                        if isinstance(attribute, Attr) and is_receiver(attribute.base, caller):
                            made = _stripped(other)
                            if _calls(made, caller, maker.facts.name):
                                yield from self._scalar(caller, attribute, term.loc)

    def _scalar(self, function: Function, attribute: Attr, loc: Loc) -> Iterator[ScalarUse]:
        name = attribute.name
        frame = self.model.evaluator.frame(function, self.cls)
        values = [a.value for a in self.model.evaluator.values(attribute, frame)]
        numbers = [value.scale for value in values if isinstance(value, Number)]
        if values and len(numbers) == len(values) and any(scale.is_trained for scale in numbers):
            if all(scale.known for scale in numbers):  # rsLoRA with alpha := rank leaves sqrt(rank)
                yield ScalarUse(function, name, loc, True)
        elif self._is_learned_scalar(name):
            yield ScalarUse(function, name, loc, False)

    def _is_learned_scalar(self, name: str) -> bool:
        """Is ``self.name`` a tensor of one element that the class makes?"""
        made = [
            write.event.value
            for write in self.model.project.writes(self.cls, name)
            if write.on_self and isinstance(write.event.target, Attr)
        ]
        for method in self.methods:
            for event in method.events("call"):
                call = event.value
                if (
                    isinstance(call, Call)
                    and isinstance(call.func, Attr)
                    and call.func.name == "register_buffer"
                    and len(call.args) >= 2
                    and isinstance(call.args[0], Const)
                    and call.args[0].value == name
                ):
                    made.append(call.args[1])
        parameters = [term for term in made if _is_one_element(term)]
        learned = any(
            isinstance(term, Call) and getattr(term.func, "name", "") == "Parameter" for term in parameters
        )
        return learned and len(parameters) == len([term for term in made if not _is_like(term)])

    def _supplied(self, method: Function, seen: set[Function]) -> frozenset[str]:
        """Attributes that callers give to ``method`` or multiply onto its result, through their callers."""
        found: set[str] = set()
        for caller in self.methods:
            if method.facts.name not in self.mentions[caller]:
                continue
            for _, term in each_term(caller.facts.events):
                if isinstance(term, Call) and _calls(term, caller, method.facts.name):
                    found.update(name for argument in _arguments(term) for name in _names(argument, caller))
                elif isinstance(term, Op) and term.sign in ("*", "/"):
                    for side, other in ((term.left, term.right), (term.right, term.left)):
                        if any(_calls(part, caller, method.facts.name) for part in walk(side)):
                            found.update(_names(other, caller))
            if caller not in seen:
                seen.add(caller)
                found |= self._supplied(caller, seen)
        return frozenset(found)

    def _folds(self) -> bool:
        """Does the class write a scaled tensor over one of the network's?"""
        return any(
            write.event.sign in ("*", "/")
            or any(isinstance(t, Op) and t.sign == "*" for t in walk(write.event.value))
            for method in self.methods
            if method.facts.name not in ("__init__", "reset_parameters")
            and not _NO_FOLD.search(method.facts.name)
            for name in self.tensors[method]
            for write in self.model.project.writes(self.cls, name)
            if write.function is method
        )


_NO_FOLD = re.compile(r"(?i)max_norm|clip|init|state_dict")


def left_out_scalars(model: Model) -> Iterator[LeftOut]:
    """Scalars that one path of an adapter network leaves out, each place once."""
    owners = dict.fromkeys(f.owner for f in model.functions if f.owner is not None)
    reported: set[tuple[Function, str]] = set()
    for cls in owners:
        if len(model.project.ancestors(cls)) > CLASS_LIMIT:
            continue
        for found in AdapterPaths(model, cls).left_out():
            key = (found.missing, found.use.name)
            if key not in reported:
                reported.add(key)
                yield found


def _own_attributes(method: Function) -> Iterator[str]:
    for _, term in each_term(method.facts.events):
        if isinstance(term, Attr) and is_receiver(term.base, method):
            yield term.name


def _names(term: Term, function: Function) -> Iterator[str]:
    for part in walk(term):
        if isinstance(part, Attr) and is_receiver(part.base, function):
            yield part.name


def _takes_activation(method: Function) -> bool:
    plain = [p for p in method.facts.parameters if p.name != method.receiver]
    return bool(plain) and _ACTIVATION.fullmatch(plain[0].name) is not None


def _only_answers(method: Function) -> bool:
    """Does the method only say yes or no, whatever tensors it looks at?"""
    returned = [event.value for event in method.events("return")]
    return bool(returned) and all(map(_is_answer, returned))


def _is_answer(term: Term) -> bool:
    match term:
        case Const() | Not():
            return True
        case Logic(left=left, right=right):
            return _is_answer(left) and _is_answer(right)
        case Op(sign=sign):
            return sign in _COMPARES
        case Call(func=Global(name=name)):
            return name in _ASKS
        case _:
            return False


_COMPARES = frozenset(["==", "!=", "<", ">", "<=", ">=", "is", "is not", "in", "not in"])
_ASKS = frozenset("isinstance hasattr issubclass callable bool any all".split())


def _arguments(call: Call) -> tuple[Term, ...]:
    return (*call.args, *(value for _, value in call.keywords))


def _calls(term: Term, function: Function, name: str) -> bool:
    func = term.func if isinstance(term, Call) else None
    return isinstance(func, Attr) and func.name == name and is_receiver(func.base, function)


def _multiplied(term: Term) -> tuple[Term, ...]:
    """Operands of a product; arguments of a function that makes a weight of the tensors and a scalar."""
    match term:
        case Op(sign="*", left=left, right=right):
            return (left, right)
        case Call(func=Attr(base=base, name=name), args=args) if name in _TIMES and args:
            return (base, args[0])
        case Call(func=Global(), args=args) if len(args) >= 3:
            return args
        case _:
            return ()


def _stripped(term: Term) -> Term:
    while True:
        if isinstance(term, Call) and isinstance(term.func, Attr) and term.func.name in _KEEPS:
            term = term.func.base
        elif isinstance(term, Attr) and term.name in _KEEPS:
            term = term.base
        else:
            return term


def _is_one_element(term: Term) -> bool:
    """``torch.tensor(0.0)``, ``nn.Parameter(torch.zeros(1))``."""
    while isinstance(term, Call) and getattr(term.func, "name", "") == "Parameter" and term.args:
        term = term.args[0]
    if not isinstance(term, Call) or getattr(term.func, "name", "") not in _MAKES_SCALAR:
        return False
    if term.func.name == "tensor" if isinstance(term.func, Attr | Global) else False:
        return len(term.args) == 1 and isinstance(term.args[0], Const)
    return len(term.args) >= 1 and isinstance(term.args[0], Const) and term.args[0].value == 1


def _is_like(term: Term) -> bool:
    """``torch.ones_like(self.scalar)``: another value for the same thing."""
    return isinstance(term, Call) and getattr(term.func, "name", "").endswith("_like")


def _is_none(term: Term) -> bool:
    return isinstance(term, Const) and term.value is None
