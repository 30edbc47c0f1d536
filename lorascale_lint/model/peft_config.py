"""PEFT adapter configurations: where code loads one, and where its alpha and rank meet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    Global,
    Item,
    Loc,
    Logic,
    Mapping,
    Op,
    Param,
    Sequence,
    Term,
    each_term,
    walk,
)
from lorascale_lint.model.adapter_keys import key_traffic
from lorascale_lint.model.factor_products import SCALE_WORD
from lorascale_lint.model.project import (
    Class,
    Function,
    bound_arguments,
    constructor,
    is_receiver,
    is_test_file,
)
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.vocabulary import factor_side, key_side, number_role

if TYPE_CHECKING:
    from lorascale_lint.model.model import Model

FIELDS = {"lora_alpha": ALPHA, "r": RANK}
"""The two fields of PEFT's ``LoraConfig`` from which the trained scale is computed."""

_GENERAL = frozenset(
    "target_modules fan_in_fan_out modules_to_save peft_type use_dora rank_pattern alpha_pattern "
    "base_model_name_or_path lora_dropout layers_to_transform".split()
)
"""Further fields of the configuration; code that reads one takes adapters as PEFT writes them."""

_PEFT_ONLY = frozenset("fan_in_fan_out modules_to_save peft_type base_model_name_or_path".split())
"""Fields that only PEFT writes; ``target_modules`` and ``lora_dropout`` are in settings of trainers too."""

_FETCHES = frozenset(
    "snapshot_download hf_hub_download adapter_model.safetensors adapter_model.bin adapter_model.pt".split()
)
"""Words of code that takes whatever adapter somebody published, or as PEFT saves it."""

_PREFIX = "base_model.model"
"""What PEFT puts before the keys of every adapter that it saves."""
_PEFT_CONFIG = re.compile(r"peft\.(?:\w+\.)*(?:Peft|Lora)Config")
_PEFT_NAME = re.compile(r"(?:adapter|peft)_(?:config|cfg)s?(?:_dict)?")
_CONTAINER_NAMES = frozenset(
    "dict Dict list List Iterable Sequence Mapping Any str typing t Union Optional None tuple Tuple".split()
)
_READS_ALPHA = re.compile(r"""(?<!self)\.lora_alpha\b(?!\s*=[^=])|["']lora_alpha["']""")
_RSLORA = re.compile(r"(?i)rs_?lora|rank_?stabili[sz]ed")
_DEPTH = 7
_IMPORT_DEPTH = 4
_TELLS_ONLY = frozenset(
    "print dict format update log info debug warning init isinstance hasattr getattr str repr len".split()
)
_CONVERSIONS = frozenset("float int str Decimal Fraction item tensor as_tensor abs".split())
_CONFIG_CLASSES = frozenset(["PeftConfig", "LoraConfig"])
_LORA_CONFIG = frozenset(
    "task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode r "
    "target_modules exclude_modules lora_alpha lora_dropout fan_in_fan_out bias use_rslora modules_to_save "
    "init_lora_weights layers_to_transform layers_pattern rank_pattern alpha_pattern megatron_config "
    "megatron_core trainable_token_indices loftq_config eva_config corda_config use_dora use_qalora "
    "qalora_group_size alora_invocation_tokens layer_replication runtime_config lora_bias target_parameters "
    "arrow_config ensure_weight_tying".split()
)
"""All fields of ``LoraConfig`` as PEFT 0.21 writes it; a configuration with others is somebody else's."""
_LOADS = frozenset(["from_pretrained", "from_json_file", "from_pretrained_config"])


@dataclass(frozen=True, slots=True, eq=False)
class LoadedConfig:
    """An adapter configuration that was read from a file at ``loc``."""

    function: Function
    loc: Loc

    @property
    def place(self) -> tuple[str, Loc]:
        """What tells one loaded configuration from another."""
        return self.function.filename, self.loc


@dataclass(frozen=True, slots=True, eq=False)
class FieldRead:
    """``config["lora_alpha"]`` or ``config.r``: a field of a loaded configuration."""

    role: str
    config: LoadedConfig
    function: Function
    loc: Loc


@dataclass(frozen=True, slots=True, eq=False)
class PlainScale:
    """A place that gets alpha and rank of one loaded configuration, and so can only know alpha / rank.

    The quotient itself is here, or both go to ``callee`` with the factors, or by their names to a callee
    that is not among the files, ``unseen``.
    """

    alpha: FieldRead
    rank: FieldRead
    function: Function
    event: Event
    loc: Loc
    callee: Function | None = None
    unseen: str = ""

    @property
    def functions(self) -> tuple[Function, ...]:
        """Functions that the two fields pass through."""
        fixed = (self.alpha.config.function, self.alpha.function, self.rank.function, self.function)
        return (*fixed, self.callee) if self.callee is not None else fixed


class PeftConfigs:
    """Follows fields of loaded adapter configurations through a project."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.project = model.project
        # Branches share sub-terms: without these tables the work would be exponential.
        self._read: dict[tuple[int, int, int], tuple[FieldRead, ...]] = {}
        self._found: dict[tuple[int, int, int], LoadedConfig | None] = {}

    def plain_scales(self) -> Iterator[PlainScale]:
        """Every use of both fields, the quotients first."""
        functions = [item for item in self.model.functions if not is_test_file(item.filename)]
        for function in functions:
            for event, term in each_term(function.facts.events):
                if isinstance(term, Op) and term.sign == "/":
                    yield from self._paired(term.left, term.right, function, event, term.loc, None)
        for function in functions:
            for event in function.events("call"):
                if isinstance(event.value, Call):
                    yield from self._handed_on(event.value, function, event)

    def loaded_without_alpha(self, cls: Class) -> LoadedConfig | None:
        """The adapter configuration that ``cls`` loads beside both factors, if nothing near can scale by it.

        That is: no name in the class may hold a scale, and no file around it reads ``lora_alpha``.
        """
        methods = [
            method for member in self.project.ancestors(cls) for method in self.project.methods(member)
        ]
        words = {word for method in methods for word in method.facts.words if " " not in word.strip()}
        if any(SCALE_WORD.search(word) for word in words) or any(map(self._gives_away, methods)):
            return None
        for method in self.project.methods(cls):
            keys = key_traffic(method).roles("read", "test")
            if not ({"A", "B"} <= keys or self._looks_factors_up(method)):
                continue
            for _, term in each_term(method.facts.events):
                config = self._loaded(term, method, 3) if isinstance(term, Call) else None
                if config is not None:
                    near = self._connected(frozenset(item.filename for item in methods))
                    return None if near & self._alpha_files else config
        return None

    def reads_flag(self, scale: PlainScale) -> bool:
        """Does code that could stand before or behind ``scale`` name rsLoRA, to use or to refuse it?"""
        files = frozenset(function.filename for function in scale.functions)
        return bool(self._connected(files) & self._flag_files)

    def takes_any_adapter(self, scale: PlainScale) -> bool:
        """Is this a reader of PEFT adapters: by a further field, by both factors' keys, or from the hub?

        A file that only borrows the name and two fields of the format may come from one trainer alone.
        """
        words: set[str] = set()
        for function in scale.functions:
            owned = self.project.methods(function.owner) if function.owner is not None else (function,)
            words.update(word.strip("\"'") for method in owned for word in method.facts.words)
            if function.owner is not None:
                words.update(attribute.name for attribute in function.owner.facts.attributes)
        sides = {factor_side(word, False) or key_side(word) for word in words}
        return bool(words & (_GENERAL | _FETCHES)) or {"A", "B"} <= sides

    def _paired(
        self, alpha: Term, rank: Term, function: Function, event: Event, loc: Loc, callee: Function | None
    ) -> Iterator[PlainScale]:
        ranks = [read for read in self._reads(rank, function, _DEPTH) if read.role == RANK]
        if not ranks:
            return
        for read in self._reads(alpha, function, _DEPTH):
            for other in ranks:
                if read.role == ALPHA and read.config.place == other.config.place:
                    yield PlainScale(read, other, function, event, loc, callee)

    def _handed_on(self, call: Call, function: Function, event: Event) -> Iterator[PlainScale]:
        """Both fields given to a function that makes an adapter of factors, or to one out of sight."""
        callees = self.project.callees(call.func, function, function.owner)
        name = call.func.name if isinstance(call.func, Attr | Global) else ""
        if name and not callees and name not in _TELLS_ONLY and not call.spread:
            told = {role: value for key, value in call.keywords if (role := number_role(key, True))}
            if ALPHA in told and RANK in told and self._looks_factors_up(function):
                for scale in self._paired(told[ALPHA], told[RANK], function, event, call.loc, None):
                    if scale.alpha.function is function and not self._keeps_whole(function):
                        yield replace(scale, unseen=name)
        for item in callees:
            callee = constructor(self.project, item)
            if callee is None or not {"A", "B"} <= {factor_side(w, False) for w in callee.facts.words}:
                continue
            bound = bound_arguments(call, callee)
            given = {role: bound[name] for name in bound if (role := number_role(name, True)) is not None}
            if ALPHA in given and RANK in given:
                yield from self._paired(given[ALPHA], given[RANK], function, event, call.loc, callee)

    def _gives_away(self, function: Function) -> bool:
        """Does a whole configuration go to code that is not seen, and that may scale by it?"""
        return any(
            isinstance(call := event.value, Call)
            and getattr(call.func, "name", "") not in _TELLS_ONLY
            and not self.project.callees(call.func, function, function.owner)
            and any(
                isinstance(term, Call | Param | Attr) and self._loaded(term, function, 3) is not None
                for term in (*call.args, *(value for _, value in call.keywords))
            )
            for event in function.events("call")
        )

    def _keeps_whole(self, function: Function) -> bool:
        """Does a whole configuration go on from ``function``, so that the flag may be read out of sight?"""
        for event in function.events("call", "return", "write"):
            given: tuple[Term, ...] = (event.value,)
            if event.kind == "call" and isinstance(event.value, Call):
                given = (*event.value.args, *(value for _, value in event.value.keywords))
            elif isinstance(event.value, Sequence):
                given = event.value.items
            for term in given:
                if isinstance(term, Call | Param | Attr) and self._loaded(term, function, 2) is not None:
                    return True
        return False

    # ---- fields -----------------------------------------------------------------------

    def _reads(self, term: Term, function: Function, depth: int) -> tuple[FieldRead, ...]:
        """Fields of loaded configurations that ``term`` may hold, each configuration once."""
        key = (id(term), id(function), depth)
        if depth > 0 and key not in self._read:
            self._read[key] = ()
            reads = self._follow(term, function, depth)
            self._read[key] = tuple({(read.role, read.config.place): read for read in reads}.values())
        return self._read.get(key, ())

    def _follow(self, term: Term, function: Function, depth: int) -> Iterator[FieldRead]:
        match term:
            case Choice(then=left, other=right) | Logic(left=left, right=right) | Op("*", left, right):
                yield from self._reads(left, function, depth)
                yield from self._reads(right, function, depth)
            case Item(base=base, key=Const(value=str() as key)) | Attr(base=base, name=key):
                yield from self._field(base, key, term, function, depth)
            case Call(func=Attr(base=base, name="get" | "pop"), args=(Const(value=str() as key), *_)):
                yield from self._field(base, key, term, function, depth)
            case Call(func=Global(name="getattr"), args=(base, Const(value=str() as key), *_)):
                yield from self._field(base, key, term, function, depth)
            case Call(func=Attr(base=base, name=name), args=()) if name in _CONVERSIONS:
                yield from self._reads(base, function, depth)
            case Call(func=Global(name=name) | Attr(name=name), args=(first, *_)) if name in _CONVERSIONS:
                yield from self._reads(first, function, depth)
            case Param():
                for argument, caller in self._arguments(term, function):
                    yield from self._reads(argument, caller, depth - 1)
            case _:
                pass

    def _field(self, base: Term, key: str, term: Term, function: Function, depth: int) -> Iterator[FieldRead]:
        role = FIELDS.get(key)
        if role is not None:
            config = self._loaded(base, function, depth)
            if config is not None:
                yield FieldRead(role, config, function, term.loc)
                return
        owner = self._class_of(base, function) if isinstance(term, Attr) else None
        if owner is not None:
            for write in self.project.writes(owner, key):
                if write.on_self and not write.event.sign:
                    yield from self._reads(write.event.value, write.function, depth - 1)
            if self.project.class_attribute(owner, key) is not None:
                yield from self._dataclass_field(owner, key, role, term, function, depth)

    def _dataclass_field(
        self, owner: Class, key: str, role: str | None, term: Term, function: Function, depth: int
    ) -> Iterator[FieldRead]:
        """A field of a dataclass, from where the object is made: ``cls(r=config.r)``, ``cls(**config)``."""
        for maker, call in self._makers(owner):
            given = dict(call.keywords).get(key)
            if given is not None:
                yield from self._reads(given, maker, depth - 1)
            elif role is not None and call.spread:
                loads = (term for event in maker.events("call") for term in walk(event.value))
                found = (self._loaded(item, maker, 2) for item in loads if isinstance(item, Call))
                config = next((item for item in found if item is not None), None)
                if config is not None:
                    yield FieldRead(role, config, function, term.loc)

    def _makers(self, owner: Class) -> Iterator[tuple[Function, Call]]:
        """Calls that make an object of ``owner``, which has no constructor of its own."""
        if self.project.method(owner, "__init__") is not None:
            return
        for maker in self.model.functions:
            if is_test_file(maker.filename):
                continue
            for event in maker.events("call"):
                if not isinstance(event.value, Call):
                    continue
                func = event.value.func
                own = is_receiver(func, maker) and "classmethod" in maker.facts.decorators
                if (own and maker.owner is owner) or owner in self.project.callees(func, maker, None):
                    yield maker, event.value

    # ---- configurations ---------------------------------------------------------------

    def _loaded(self, term: Term, function: Function, depth: int) -> LoadedConfig | None:
        """The configuration that ``term`` (or an element of it) is."""
        key = (id(term), id(function), depth)
        if depth > 0 and key not in self._found:
            self._found[key] = None
            self._found[key] = self._origin(term, function, depth)
        return self._found.get(key)

    def _origin(self, term: Term, function: Function, depth: int) -> LoadedConfig | None:
        options: list[tuple[Term, Function]] = []
        match term:
            case Call(func=Attr(base=Global() | Attr() as cls, name=loader)) if loader in _LOADS:
                name = self.project.absolute_name(function, cls).rpartition(".")[2]
                return LoadedConfig(function, term.loc) if name in _CONFIG_CLASSES else None
            case Call() if self._loads_json(term, function):
                return LoadedConfig(function, term.loc) if self._names_the_file(function) else None
            case Call():
                for callee in self.project.callees(term.func, function, function.owner):
                    if isinstance(callee, Function):
                        options += [(event.value, callee) for event in callee.events("return")]
            case Choice(then=then, other=other) | Logic(left=then, right=other) | Op("+", then, other):
                options = [(then, function), (other, function)]
            case Item(base=Call() as call, key=Const(value=int() as index)):
                options = self._returned_part(call, index, function, depth)
            case Element(source=source) | Item(base=source):
                options = [(source, function)]
            case Sequence(items=items, repeated=True):
                options = [(item, function) for item in items]
            case Mapping(pairs=pairs):
                options = [(value, function) for _, value in pairs]
            case Param():
                options = list(self._arguments(term, function))
            case Attr(base=base, name=name):
                owner = self._class_of(base, function)
                writes = () if owner is None else self.project.writes(owner, name)
                options = [(write.event.value, write.function) for write in writes if write.on_self]
            case _:
                pass
        for option, where in options:
            found = self._loaded(option, where, depth - 1)
            if found is not None:
                return found
        if isinstance(term, Param) and not any(_is_own(option) for option, _ in options):
            return self._declared(term, function, bool(options))
        return None

    def _declared(self, parameter: Param, function: Function, given: bool) -> LoadedConfig | None:
        """A parameter filled out of sight: PEFT's by its annotation, or by what the code reads beside it.

        The factors must be looked up by their keys: code that makes them is a trainer, whose
        configuration is its own.
        """
        maker = self.project.functions.get(f"{function.module}.{parameter.function}")
        declared = None if maker is None else maker.parameter(parameter.name)
        if maker is None or declared is None or is_receiver(parameter, maker):
            return None
        if self._has_own_configurations or not _has_peft_fields(parameter, maker):
            return None
        names = re.findall(r"[\w.]+", declared.annotation)
        owners = {self.project.absolute_name(maker, Global(name)) for name in names}
        if any(_PEFT_CONFIG.fullmatch(name) for name in owners):
            return LoadedConfig(maker, declared.loc) if self._looks_factors_up(maker) else None
        if not {name.rpartition(".")[2] for name in names} <= _CONTAINER_NAMES:
            return None
        if _PEFT_NAME.fullmatch(parameter.name) and self._looks_factors_up(maker):
            return LoadedConfig(maker, declared.loc)
        return LoadedConfig(maker, declared.loc) if not given and self._reads_peft_files(maker) else None

    @cached_property
    def _has_own_configurations(self) -> bool:
        """Does the project define the configuration itself, as forks of old PEFT do that know no rsLoRA?"""
        return any(name.rpartition(".")[2] in _CONFIG_CLASSES for name in self.project.classes)

    def _looks_factors_up(self, function: Function) -> bool:
        """Are literals in the function, or its class, keys of both factors?"""
        near = self.project.methods(function.owner) if function.owner is not None else (function,)
        words = {word for method in near for word in method.facts.words if word[-1:] in "\"'"}
        return {"A", "B"} <= {key_side(word) for word in words}

    def _reads_peft_files(self, function: Function) -> bool:
        """Does the function ask for the modules of the adapter, in a file that knows PEFT's prefix?"""
        if "target_modules" not in function.facts.words:
            return False
        beside = [item for item in self.project.functions.values() if item.filename == function.filename]
        return any(_PREFIX in word for item in beside for word in item.facts.words) and any(
            self._looks_factors_up(item) for item in beside
        )

    def _returned_part(
        self, call: Call, index: int, function: Function, depth: int
    ) -> list[tuple[Term, Function]]:
        """What ``call(...)[index]`` may be: a part of the tuples that a helper, or its helper, returns."""
        found: list[tuple[Term, Function]] = []
        callees = self.project.callees(call.func, function, function.owner) if depth > 0 else ()
        for callee in [item for item in callees if isinstance(item, Function)]:
            for event in callee.events("return"):
                match event.value:
                    case Sequence(items=items, repeated=False):
                        found += [(items[index], callee)] if index < len(items) else []
                    case Call() as inner:
                        found += self._returned_part(inner, index, callee, depth - 1)
                    case _:
                        found.append((event.value, callee))
        return found

    def _loads_json(self, call: Call, function: Function) -> bool:
        return self.project.absolute_name(function, call.func).endswith(("json.load", "json.loads"))

    def _names_the_file(self, function: Function) -> bool:
        """Does the function, its class or a caller name PEFT's ``adapter_config.json``, or its own fields?"""
        near = [function]
        if function.owner is not None:
            near += self.project.methods(function.owner)
        callers = [site.caller for item in near for site in self.project.call_sites(item)]
        words = {word.strip("\"'").lower() for item in (*near, *callers) for word in item.facts.words}
        return bool(words & _PEFT_ONLY) or any("adapter_config" in word for word in words)

    def _arguments(self, parameter: Param, function: Function) -> Iterator[tuple[Term, Function]]:
        """What callers give for a parameter."""
        if parameter.function != function.facts.qualname or is_receiver(parameter, function):
            return
        for site in self.project.call_sites(function):
            argument = bound_arguments(site.call, function).get(parameter.name)
            if argument is not None:
                yield argument, site.caller
        for caller, call in self._local_imports.get(function.facts.qualname, ()):
            argument = bound_arguments(call, function).get(parameter.name)
            if argument is not None:
                yield argument, caller

    @cached_property
    def _local_imports(self) -> dict[str, list[tuple[Function, Call]]]:
        """Calls of functions that the caller imports in its body, found by name if the name is unique."""
        names: dict[str, int] = {}
        for function in self.project.functions.values():
            if function.owner is None:
                names[function.facts.qualname] = names.get(function.facts.qualname, 0) + 1
        found: dict[str, list[tuple[Function, Call]]] = {}
        for caller in self.model.functions:
            for event in caller.events("call"):
                if not isinstance(event.value, Call) or not isinstance(event.value.func, Global):
                    continue
                name = event.value.func.name
                known = self.project.definition(caller.module, caller.filename, name) is not None
                imported = name in self.project.files[caller.filename].imports
                if names.get(name) == 1 and not known and not imported and not is_test_file(caller.filename):
                    found.setdefault(name, []).append((caller, event.value))
        return found

    def _class_of(self, term: Term, function: Function) -> Class | None:
        """The project class of the object that ``term`` is, from ``self`` or an annotation."""
        if is_receiver(term, function):
            return function.owner
        if isinstance(term, Param):
            parameter = function.parameter(term.name)
            names = re.findall(r"[\w.]+", parameter.annotation if parameter is not None else "")
            found = (self.project.definition(function.module, function.filename, name) for name in names)
            return next((item for item in found if isinstance(item, Class)), None)
        if isinstance(term, Attr) and is_receiver(term.base, function) and function.owner is not None:
            for write in self.project.writes(function.owner, term.name):
                value = write.event.value
                if write.on_self and isinstance(value, Param) and not is_receiver(value, write.function):
                    return self._class_of(value, write.function)
        return None

    # ---- the flag ---------------------------------------------------------------------

    @cached_property
    def _flag_files(self) -> frozenset[str]:
        """Files that name rsLoRA at all, tests apart."""
        found = set()
        for filename in self.project.files:
            text = self.model.read_source(filename).decode("utf-8", "replace")
            if not is_test_file(filename) and _RSLORA.search(text):
                found.add(filename)
        return frozenset(found)

    @cached_property
    def _alpha_files(self) -> frozenset[str]:
        """Files that read the alpha of some configuration, tests apart."""
        return frozenset(
            filename
            for filename in self.project.files
            if not is_test_file(filename)
            and _READS_ALPHA.search(self.model.read_source(filename).decode("utf-8", "replace"))
        )

    @cached_property
    def _imported(self) -> dict[str, frozenset[str]]:
        """Files that each file imports from."""
        files_of = {module: filename for filename, module in self.project.modules.items()}
        table: dict[str, frozenset[str]] = {}
        for filename, facts in self.project.files.items():
            targets = (
                name for dotted in facts.imports.values() for name in (dotted, dotted.rpartition(".")[0])
            )
            table[filename] = frozenset(files_of[name] for name in targets if name in files_of)
        return table

    def _connected(self, files: frozenset[str]) -> frozenset[str]:
        """Neighbours in the folder, what ``files`` import, their importers, and what those import."""
        folders = {PurePath(name).parent for name in files}
        below, above = set(files), set(files)
        for _ in range(_IMPORT_DEPTH):
            below |= {target for name in below for target in self._imported.get(name, ())}
            above |= {name for name, targets in self._imported.items() if targets & above}
        beside = {target for name in above for target in self._imported.get(name, ())}
        neighbours = {name for name in self.project.files if PurePath(name).parent in folders}
        return frozenset(below | above | beside | neighbours)


def _has_peft_fields(config: Param, function: Function) -> bool:
    """Are all keys that ``function`` looks up in a configuration fields of PEFT's?"""
    keys = set()
    for _, term in each_term(function.facts.events):
        match term:
            case (
                Item(base=Param(name=config.name), key=Const(value=str() as key))
                | Call(
                    func=Attr(base=Param(name=config.name), name="get" | "pop"),
                    args=(Const(value=str() as key), *_),
                )
                | Op(sign="in", left=Const(value=str() as key), right=Param(name=config.name))
            ):
                keys.add(key)
            case _:
                pass
    return keys <= _LORA_CONFIG


def _is_own(term: Term) -> bool:
    """Does the program make this configuration itself, or take that of a model in training?"""
    return any(
        (isinstance(part, Mapping) and bool(part.pairs))
        or (isinstance(part, Attr) and part.name == "peft_config")
        or (isinstance(part, Call) and getattr(part.func, "name", "") in ("LoraConfig", "get_peft_config"))
        for part in walk(term)
    )
