"""Runs code on values instead of tensors: what all parts of a run share, conditions, bounds of work."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from lorascale_lint.bounds import (
    GUARD_LIMIT,
    LETTER_LIMIT,
    MORE_STEPS,
    MORE_TIMES,
    PATH_LIMIT,
    STEP_LIMIT,
    TRIAL_STEPS,
)
from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import NEUTRAL
from lorascale_lint.knowledge.ranks_by_use import ranks_by_use
from lorascale_lint.knowledge.roles import BASE, FACTORS, NUMBERS, RANK, keeps_factors, role_of
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.linking.program import Program
from lorascale_lint.provenance.effects import Effects
from lorascale_lint.provenance.frames import Frame
from lorascale_lint.provenance.guards import Guards, contradict
from lorascale_lint.provenance.heap import ABSENT, Cell, Entries, Heap, Items
from lorascale_lint.provenance.marks import AFTER, LOOP, ROUND
from lorascale_lint.provenance.memory import Memory
from lorascale_lint.provenance.recorder import Recorder
from lorascale_lint.provenance.values import (
    Closure,
    Const,
    Hole,
    Keywords,
    Matched,
    Number,
    Place,
    Ref,
    Regex,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    one_of,
    some_of,
)

DEEP = "nested too deeply: not followed"
"""What is said of a statement that is left out."""


class OutOfSteps(Exception):
    """The bound of work for one function is passed."""


@immutable(frozen=True, slots=True)
class Interpreter:
    """The three functions that everything comes back to: of an expression, of a call, of a suite."""

    evaluate: Callable[[Machine, ast.expr], Value]
    call: Callable[[Machine, Value, list[Value], Keywords, ast.Call | None], Value]
    block: Callable[[Machine, list[ast.stmt]], bool]


class Machine(Recorder):
    """Everything that is shared while a project is looked at."""

    def __init__(self, program: Program, interpreter: Interpreter) -> None:
        super().__init__()
        self.program = program
        self.evaluate = partial(interpreter.evaluate, self)
        """The value of an expression."""
        self.call = partial(interpreter.call, self)
        """What calling a value gives: the value, arguments, keywords, and the node if source says so."""
        self.block = partial(interpreter.block, self)
        """Run a suite; True if control never reaches its end."""
        self.heap = Heap()
        self.effects = Effects(program)
        self.looked_at: set[str] = set()
        """Files whose functions are run for themselves."""
        self.steps, self.limit = 0, STEP_LIMIT
        self.more = MORE_TIMES
        self.far: set[FunctionInfo] = set()
        """What is not followed further while one function is looked at: it takes too many steps."""
        self.instances: dict[ClassInfo, Ref] = {}
        self.set_on_given: dict[FunctionInfo, dict[Cell, Any]] = {}
        """What fields of a method's arguments held before it set them: the next call gets another object."""
        self.modules: dict[tuple[str, str], Value] = {}
        self._lora: dict[Any, bool] = {}
        self._atoms: dict[int, tuple[str, bool, ast.expr]] = {}
        self._memberships: dict[tuple[int, int], ast.Compare] = {}
        self._guards: Guards = ()
        self._denied: set[tuple[str, bool]] = set()
        self.frames = 0
        self.memory = Memory(self.heap, self.ledger)
        self.decorated: dict[FunctionInfo, Value] = {}
        """What decorators make of functions."""
        self.own_words: dict[FunctionInfo, bool] = {}
        self.defined: list[tuple[Closure, Frame, Guards]] = []
        """Functions defined inside the one that is looked at; who calls them may be out of sight."""
        self.called: set[FunctionInfo] = set()
        self.watched: tuple[str, int] | None = None
        """File and row at which every value is kept, for whoever asks what is known there."""
        self.sights: list[tuple[str, Value, tuple[str, ...]]] = []
        self.on_trial: tuple[ast.AST | None, Ref] | None = None
        """The call that opens a file, and the tensors that it gives while a function is tried on them."""

    def enter(self, frame: Frame) -> None:
        """Start to run a function."""
        self.frames += 1
        frame.number = self.frames
        frame.journal = len(self.heap.journals)
        self.stack.append(frame)

    def leave(self, frame: Frame) -> None:
        """Return from a function; what it changed stays."""
        while len(self.heap.journals) > frame.journal:
            self.heap.keep()
        self.stack.pop()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What runs in it belongs to no call that runs: it is not recorded, and no branch takes it back."""
        journals, self.heap.journals = self.heap.journals, []
        recording, self.recording = self.recording, False
        paused = self.memory.pause()
        try:
            yield
        finally:
            self.recording, self.heap.journals = recording, journals
            self.memory.resume(paused)

    def add(self, other: Machine) -> None:
        """Take over what another machine has seen in other files."""
        self.ledger.add(other.ledger)
        self.looked_at |= other.looked_at
        self.sights += other.sights

    # ---- bounds -----------------------------------------------------------------------

    def tick(self) -> None:
        """Count one step.

        Raises:
            OutOfSteps: there were too many for the function that is looked at.
        """
        self.steps += 1
        if self.steps > self.limit:
            raise OutOfSteps

    def file_comes_in(self, opened: ast.Call | None) -> Ref | None:
        """What the call that opens the file of a trial gives, and from here on its steps count; else None."""
        if self.on_trial is None or opened is None or self.on_trial[0] is not opened:
            return None
        self.steps, self.more = STEP_LIMIT - TRIAL_STEPS, 0
        return self.on_trial[1]

    def may_go_on(self, error: Exception) -> bool:
        """Can the function that is looked at go on behind a statement that was too much? A few times."""
        if isinstance(error, OutOfSteps):
            if len(self.stack) != 1 or self.more == 0:
                return False
            self.more -= 1
            self.steps = STEP_LIMIT - MORE_STEPS
        return True

    def take_back(self, journals: int, guards: Guards) -> None:
        """Undo what was left half done, where that many journals were open; nothing of it is remembered."""
        while len(self.heap.journals) > journals:
            self.heap.undo()
        self.frame.guards = guards
        self.memory.lose()

    def give_up(self, statement: ast.stmt, deep: bool, journals: int, guards: Guards) -> None:
        """Leave out a statement that is nested too deeply, or takes too much, and say so."""
        self.take_back(journals, guards)
        place = self.frame.file.filename, statement.lineno
        if deep:
            self.ledger.left_out.setdefault(place, DEEP)
        else:
            self.ledger.bounds.append(f"{place[0]}:{place[1]}")

    def place(self, name: str, parent: Value | None = None, made: str = "") -> Place:
        """Something out of sight called ``name``, on ``parent`` if it is given."""
        role = role_of(name, self.stack[-1].lora)
        weak = role is not None and role_of(name, False) is None
        if role is None and self.stack[-1].lora and name in ranks_by_use(self.stack[-1].file.source):
            role, weak = RANK, True
        path = name
        if (
            isinstance(parent, Place)
            and parent.path == "self"
            and role == "multiplier"
            and name.strip("_") in ("scale", "scales")
        ):
            role = "scaling"  # a field of the layer, where a parameter would be anybody's number
        if isinstance(parent, Place):
            path = f"{parent.path}.{name}"
            if parent.role == BASE and weak and role in FACTORS:
                role = BASE  # `base_layer.up_proj`: what the model calls its own layers
            if (role == "base" and parent.role in ("A", "B", "magnitude")) or (
                role is None and name in NEUTRAL
            ):
                role, weak = parent.role, parent.weak
        return Place(path[-PATH_LIMIT:], role, weak, made=made)

    def speaks(self, function: FunctionInfo | None, file: FileInfo, cls: ClassInfo | None) -> bool:
        """Does the function, its class, or for a function its file, have a word of LoRA code?"""
        if self.says_itself(function, cls):
            return True
        keeps_pair = function is None and cls is not None and keeps_factors(cls.node, file.source)
        return (function is not None or keeps_pair) and self._says(file, file.tree)

    def says_itself(self, function: FunctionInfo | None, cls: ClassInfo | None) -> bool:
        """Does the function or its class have a word of LoRA code?"""
        own = function is not None and self._says(function.file, function.node)
        if own or (function is not None and speaks_of_lora(function.qualname)):
            return True
        return cls is not None and any(self._says(item.file, item.node) for item in self.program.mro(cls))

    def any_letter(self, name: str) -> bool:
        """Is it parameter `a` or `b` of a function that has nothing of LoRA but the file where it stands?"""
        info = self.frame.function if self.stack and len(name) == 1 and name.islower() else None
        if info is None or name not in info.parameters or self.says_itself(info, self.frame.owner):
            return False
        return NUMBERS.isdisjoint(role_of(other, True) for other in info.parameters if len(other) > 1)

    def count_as_lora(self, file: FileInfo) -> None:
        """Let a file that has no word of LoRA be read as one that has: it uses such code of the project."""
        self._lora[file.tree] = True

    def _says(self, file: FileInfo, node: ast.AST) -> bool:
        known = self._lora.get(node)
        if known is None:
            text = file.source if node is file.tree else file.text(node)
            known = self._lora[node] = speaks_of_lora(text)
        return known

    # ---- conditions -------------------------------------------------------------------

    def atom(self, test: ast.expr) -> str:
        """A name for a condition: the same text over the same object is the same condition."""
        known = self._atoms.get(id(test))
        if known is None:
            names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
            known = self._atoms[id(test)] = (ast.unparse(test), names <= {"self"}, test)
        text, everywhere, _ = known
        return text if everywhere else f"{text}@{self.frame.number}"

    def atom_in(self, left: ast.expr, right: ast.expr) -> str:
        """A name for the condition ``left in right``, also where ``left not in right`` is asked."""
        test = self._memberships.get((id(left), id(right)))
        if test is None:
            test = self._memberships[id(left), id(right)] = ast.Compare(left, [ast.In()], [right])
        return self.atom(test)

    def assume(self, name: str, holds: bool) -> None:
        """From here on the condition holds (or not), in this frame."""
        frame = self.stack[-1]
        frame.guards = (*frame.guards[-GUARD_LIMIT:], (name, holds))

    def given(self, value: Value, there: Callable[[Value], bool]) -> Value:
        """The alternatives for which ``there`` is true; what all of these hold under holds from here on.

        That a loop has run, or a method, is no condition of this kind: it would say that it still runs, and
        nothing that the code asks.
        """
        kept = some_of(value, there)
        if not kept:
            return value
        for name, holds in kept[0].guards:
            atom = (name, holds)
            ran = name.startswith((AFTER, LOOP, ROUND))
            if (
                not ran
                and atom not in self.frame.guards
                and all(atom in option.guards for option in kept[1:])
            ):
                self.assume(name, holds)
        return one_of(kept)

    def seen(self, value: Value) -> Value:
        """``value`` where the conditions of this path hold."""
        if not isinstance(value, Union):
            return value
        guards = self.stack[-1].guards
        if self.memory.open:  # as `Memory.asked`, at every name and attribute
            trace = self.memory.open[-1]
            atoms = trace.atoms
            for _, needed in value.options:
                for name, _ in needed:
                    if name not in atoms:
                        atoms[name] = trace.start.get(name)
        if guards is not self._guards:
            self._guards, self._denied = guards, {(name, not holds) for name, holds in guards}
        denied = self._denied
        if not denied:
            return value
        kept = [option for option in value.options if denied.isdisjoint(option.guards)]
        return value if len(kept) in (0, len(value.options)) else one_of(tuple(kept))

    def excluded(self, guards: Guards) -> bool:
        """Do the conditions of this path exclude ``guards``?"""
        self.memory.asked(name for name, _ in guards)
        return contradict(guards, self.frame.guards)

    def truth(self, value: Value) -> bool | None:
        """Is ``value`` true? None if that is not known."""
        match value:
            case Const(value=literal):
                return None if value is ABSENT else bool(literal)
            case Number(scale=scale):
                return None if scale.constant is None else bool(scale.constant)
            case Text(parts=parts):
                return True if any(isinstance(part, str) for part in parts) else None
            case Tup(items=items):
                return bool(items)
            case Tensor(kind="A" | "B" | "bias" | "half" | "delta" | "adapted" | "fresh"):
                return None
            case Ref(kind="list", key=key):
                held = self.heap.read(key, "items")
                return bool(held.values) if isinstance(held, Items) and not held.open else None
            case Ref(kind="dict", key=key):
                entries = self.heap.read(key, "entries")
                return None if not isinstance(entries, Entries) or entries.open else bool(entries.pairs)
            case Closure() | Matched() | Regex():
                return True
            case Union():
                found = {self.truth(option.value) for option in value.options}
                return found.pop() if len(found) == 1 else None
            case _:
                return None

    def is_none(self, value: Value) -> bool | None:
        """Is ``value`` None? None if that is not known."""
        match value:
            case Const(value=literal):
                return literal is None if value is not ABSENT else None
            case Place():
                return None
            case Union():
                found = {self.is_none(option.value) for option in value.options}
                return found.pop() if len(found) == 1 else None
            case Tensor(kind="data" | "bias"):
                return None
            case _:
                return False

    # ---- containers -------------------------------------------------------------------

    def new_list(self, values: list[Value], open_: bool = False) -> Ref:
        """A list on the heap."""
        key = self.heap.new()
        self.heap.write(key, "items", Items(tuple(values), open_))
        return Ref(key, "list")

    def new_dict(self, pairs: list[tuple[Value, Value]], open_: bool = False) -> Ref:
        """A dictionary on the heap."""
        key = self.heap.new()
        self.heap.write(key, "entries", Entries(tuple(pairs), open_))
        return Ref(key, "dict")

    def elements(self, value: Value) -> tuple[list[Value], bool] | None:
        """What a container holds, in order, and whether there may be more; None for what is no container."""
        match value:
            case Tup(items=items):
                return list(items), False
            case Ref(kind="list", key=key):
                held = self.heap.read(key, "items")
                return (list(held.values), held.open) if isinstance(held, Items) else None
            case Ref(kind="dict", key=key):
                entries = self.heap.read(key, "entries")
                if isinstance(entries, Entries):
                    return [pair[0] for pair in entries.pairs], entries.open
                return None
            case Text() if value.literal is not None and len(value.literal) <= LETTER_LIMIT:
                return [Text((letter,)) for letter in value.literal], False
            case _:
                return None


def hole(name: Any) -> Text:
    """A text of which nothing is known."""
    return Text((Hole(name),))


__all__ = ["Interpreter", "Machine", "OutOfSteps", "hole"]
