"""LoRA implementations of a project, with their applications, state, setters and loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from lorascale_lint.facts.extract import MODULE
from lorascale_lint.facts.terms import Attr, Call, FileFacts, Loc, Op, Param, Term, walk
from lorascale_lint.findings import Span
from lorascale_lint.model.adapter_keys import KeyTraffic, key_traffic
from lorascale_lint.model.applications import (
    Application,
    Kind,
    Restoration,
    Step,
    find_applications,
    find_restorations,
)
from lorascale_lint.model.configured_rank import alpha_left_in_configuration
from lorascale_lint.model.evaluate import Evaluator
from lorascale_lint.model.factor_products import FactorProducts
from lorascale_lint.model.factor_shapes import is_empty_container, is_number
from lorascale_lint.model.multiplications import Multiplications
from lorascale_lint.model.peft_config import PeftConfigs
from lorascale_lint.model.project import CallSite, Class, Function, Project, is_receiver
from lorascale_lint.model.scale import ALPHA, RANK, SCALING
from lorascale_lint.model.scaled_sums import ScaledSum, find_scaled_sums
from lorascale_lint.model.source_names import SourceNames
from lorascale_lint.model.state import AttributeState, Setter, find_setters, state_attributes
from lorascale_lint.model.vocabulary import number_role

_KEEPING_CALLS = frozenset("register_buffer tensor as_tensor float isinstance type item detach print".split())


@dataclass(frozen=True, slots=True, eq=False)
class Implementation:
    """A family of classes that applies LoRA deltas, seen from its topmost such class."""

    root: Class
    applications: tuple[Application, ...]
    state: tuple[AttributeState, ...]
    setters: tuple[Setter, ...]
    restorations: tuple[Restoration, ...]

    def attribute(self, role: str) -> AttributeState | None:
        """The attribute that holds alpha, rank or the scaling."""
        return next((state for state in self.state if state.role == role), None)

    @property
    def alpha(self) -> AttributeState | None:
        """The attribute that holds alpha."""
        return self.attribute(ALPHA)

    @property
    def rank(self) -> AttributeState | None:
        """The attribute that holds the rank."""
        return self.attribute(RANK)

    @property
    def scaling(self) -> AttributeState | None:
        """The attribute that holds alpha / rank itself."""
        return self.attribute(SCALING)

    def factor_steps(self) -> tuple[Step, ...]:
        """Where the factors come from, for a trace."""
        return tuple(
            (setter.function.filename, write.event.loc, f"factor {side} is set from a parameter, unscaled")
            for setter in self.setters[:1]
            for side, write in sorted(setter.factors.items())
        )

    @property
    def trained_applications(self) -> tuple[Application, ...]:
        """Applications that carry the trained scale on some branch."""
        return tuple(found for found in self.applications if found.is_trained)


@dataclass(frozen=True, slots=True, eq=False)
class Loader:
    """A function that reads adapter files and hands both factors on, by a setter or a merge."""

    traffic: KeyTraffic
    setter_calls: tuple[tuple[CallSite, Implementation, Setter], ...]
    applications: tuple[Application, ...]

    @property
    def function(self) -> Function:
        """The loading function."""
        return self.traffic.function


class Model:
    """What rules, codemods and ``map`` ask. Everything is computed at the first question."""

    def __init__(
        self,
        project: Project,
        read_source: Callable[[str], bytes],
        filenames: Iterable[str] = (),
        *,
        for_map: bool = False,
    ) -> None:
        """``for_map`` also names what rules take as unknown: ``scale=1.0``, learned scalars, masks."""
        self.project = project
        self.read_source = read_source
        self.names = SourceNames(tuple(sorted({*project.files, *filenames})), read_source)
        self.evaluator = Evaluator(project, for_map)
        self.multiplications = Multiplications(self.evaluator)
        self.factor_products = FactorProducts(self.evaluator)

    def span(self, filename: str, loc: Loc) -> Span:
        """A source range as findings carry it."""
        return self.project.span(filename, loc)

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """Functions and methods that speak of LoRA, in file order."""
        return tuple(
            function
            for function in self.project.functions.values()
            if function.facts.qualname != MODULE and self.evaluator.in_lora_context(function)
        )

    @cached_property
    def applications(self) -> tuple[Application, ...]:
        """Every place where a delta meets its base."""
        return tuple(
            application
            for function in self.functions
            for application in find_applications(self.evaluator, function)
        )

    @cached_property
    def applications_of(self) -> Mapping[Function, tuple[Application, ...]]:
        """The applications by the function whose body holds them."""
        found: dict[Function, tuple[Application, ...]] = {}
        for application in self.applications:
            found[application.function] = (*found.get(application.function, ()), application)
        return found

    @cached_property
    def applying_classes(self) -> tuple[Class, ...]:
        """Classes whose methods apply deltas."""
        owners = (application.owner for application in self.applications)
        return tuple(dict.fromkeys(owner for owner in owners if owner is not None))

    @cached_property
    def implementations(self) -> tuple[Implementation, ...]:
        """Class families that apply deltas or take factors, in file order."""
        setters = {cls: tuple(find_setters(self.project, cls)) for cls in self._candidate_classes}
        by_root: dict[Class, list[Class]] = {}
        applying = {a.owner for a in self.applications if a.owner is not None}
        for cls in self._candidate_classes:
            if cls in applying or setters[cls]:
                related = [
                    item for item in self.project.ancestors(cls) if item in applying or setters.get(item)
                ]
                by_root.setdefault(related[-1], []).append(cls)
        return tuple(
            Implementation(
                root,
                tuple(a for a in self.applications if a.owner in members),
                tuple(state_attributes(self.project, root)),
                tuple(setter for member in members for setter in setters[member]),
                tuple(
                    found
                    for member in members
                    for method in self.project.methods(member)
                    for found in find_restorations(self.project, method)
                ),
            )
            for root, members in by_root.items()
        )

    def unscaled_applications(
        self, *kinds: Kind
    ) -> Iterator[tuple[Implementation, Application, tuple[Step, ...]]]:
        """Applications of the given kinds that lack the trained scale, with the steps that show it."""
        for implementation in self.implementations:
            for application in implementation.applications:
                if (
                    application.kind in kinds
                    and application.is_unscaled
                    and application not in self.scaled_sums
                ):
                    evidence = self._scale_evidence(implementation, application)
                    if evidence is not None:
                        steps = (*implementation.factor_steps(), *application.delta_steps(), evidence)
                        yield implementation, application, steps

    @cached_property
    def unscaled(self) -> tuple[tuple[Implementation, Application, tuple[Step, ...]], ...]:
        """Applications of any kind that are shown to lack the trained scale."""
        return tuple(self.unscaled_applications("merge", "forward", "unmerge"))

    def _scale_evidence(self, implementation: Implementation, application: Application) -> Step | None:
        """Why an unscaled ``application`` is wrong here: a sibling that scales, or an alpha that the class
        keeps. None without such a reason, or if the class holds a scale that is not understood."""
        for sibling in implementation.trained_applications:
            if self._in_one_line(application.owner, sibling.owner):
                name = sibling.function.facts.qualname
                message = f"`{name}` applies the same delta at {sibling.formula()}"
                return sibling.function.filename, sibling.loc, message
        alpha = implementation.alpha
        understood = all(scale.known for found in implementation.applications for scale in found.scales)
        scaling = implementation.scaling
        literal = scaling is not None and all(
            write.value is not None and (is_number(write.value) or is_empty_container(write.value))
            for write in scaling.writes
        )
        if not understood or not (scaling is None or literal):
            return None
        if alpha is None or not alpha.writes:
            owner = application.owner
            return None if owner is None else self._untouched_alpha(owner) or self._unread_alpha(owner)
        write = alpha.writes[0]
        return write.filename, write.loc, f"the class keeps `{alpha.name}`, and no application uses it"

    def _untouched_alpha(self, cls: Class) -> Step | None:
        """The alpha that a constructor takes beside the rank, and never mentions again."""
        constructor = self.project.functions.get(f"{cls.module}.{cls.name}.__init__")
        if constructor is None:
            return None
        roles = {number_role(p.name, True): p for p in constructor.facts.parameters}
        alpha = roles.get(ALPHA)
        if alpha is None or RANK not in roles or _computes_with(constructor, alpha.name):
            return None
        if any(self._reads(function, alpha.name) for function in self.project.functions.values()):
            return None
        return constructor.filename, alpha.loc, f"the constructor takes `{alpha.name}`, and nothing uses it"

    def _unread_alpha(self, cls: Class) -> Step | None:
        """The configuration that a class is given, or loads with the factors, and whose alpha it leaves."""
        scaled_elsewhere = alpha_left_in_configuration(self.project, cls)
        if scaled_elsewhere is not None:
            function, loc = scaled_elsewhere
            text = "the trained scale of the configuration from which the class takes its rank"
            return function.filename, loc, text
        config = self._configs.loaded_without_alpha(cls)
        if config is None:
            return None
        text = "this configuration states alpha and the rank, and nothing reads its alpha"
        return config.function.filename, config.loc, text

    @cached_property
    def _configs(self) -> PeftConfigs:
        return PeftConfigs(self)

    def _reads(self, function: Function, name: str) -> bool:
        """Is an attribute called ``name`` part of anything that ``function`` computes?"""
        return any(
            isinstance(part, Attr) and part.name == name
            for event in function.facts.events
            for part in walk(event.value)
        )

    def _in_one_line(self, first: Class | None, second: Class | None) -> bool:
        """Is one of the classes the other, or an ancestor of it?"""
        if first is None or second is None:
            return False
        return first in self.project.ancestors(second) or second in self.project.ancestors(first)

    @cached_property
    def scaled_sums(self) -> dict[Application, ScaledSum]:
        """Applications whose whole sum is multiplied by a number afterwards."""
        by_function: dict[Function, list[Application]] = {}
        for application in self.applications:
            by_function.setdefault(application.function, []).append(application)
        return {
            found.application: found
            for function, applications in by_function.items()
            for found in find_scaled_sums(self.evaluator, function, tuple(applications))
        }

    @cached_property
    def _candidate_classes(self) -> tuple[Class, ...]:
        owners = {function.owner for function in self.functions if function.owner is not None}
        return tuple(cls for cls in self.project.classes.values() if cls in owners)

    @cached_property
    def key_traffic(self) -> tuple[KeyTraffic, ...]:
        """Functions that handle adapter keys."""
        found = (key_traffic(function) for function in self.functions)
        return tuple(traffic for traffic in found if traffic.uses)

    @cached_property
    def loaders(self) -> tuple[Loader, ...]:
        """Functions that read both factors by key and hand them to a setter or merge them."""
        return tuple(self._loaders())

    def _loaders(self) -> Iterator[Loader]:
        for traffic in self.key_traffic:
            if not {"A", "B"} <= traffic.roles("read", "test"):
                continue
            calls = tuple(self._setter_calls(traffic.function))
            applications = tuple(a for a in self.applications if a.function is traffic.function)
            if calls or applications:
                yield Loader(traffic, calls, applications)

    def _setter_calls(self, function: Function) -> Iterator[tuple[CallSite, Implementation, Setter]]:
        for event in function.events("call"):
            if not isinstance(event.value, Call):
                continue
            callees = self.project.callees(event.value.func, function, None)
            for implementation in self.implementations:
                for setter in implementation.setters:
                    if setter.function in callees:
                        yield CallSite(function, event.value, event), implementation, setter

    def written_attributes(self, function: Function) -> frozenset[str]:
        """Names of the attributes of ``self`` that ``function`` writes."""
        return frozenset(
            event.target.name
            for event in function.events("write")
            if isinstance(event.target, Attr) and is_receiver(event.target.base, function)
        )


def _computes_with(function: Function, name: str) -> bool:
    """Does ``function`` do more with a parameter than ask for it, convert it and keep it as a buffer?"""
    for event in function.facts.events:
        for term in walk(event.value):
            inner: tuple[Term, ...] = ()
            if isinstance(term, Op) and term.sign in ("*", "/", "//", "**", "+", "-", "@"):
                inner = (term.left, term.right)
            elif isinstance(term, Call) and getattr(term.func, "name", "") not in _KEEPING_CALLS:
                inner = (*term.args, *(value for _, value in term.keywords))
            if any(isinstance(part, Param) and part.name == name for part in walk(*inner)):
                return True
        if event.kind == "write" and any(
            isinstance(part, Param) and part.name == name for part in walk(event.value)
        ):
            return True
    return False


def build_model(
    files: Mapping[str, FileFacts],
    modules: Mapping[str, str],
    read_source: Callable[[str], bytes],
    filenames: Iterable[str] = (),
    *,
    for_map: bool = False,
) -> Model:
    """Link the facts of ``files``; ``modules`` gives the dotted module name of each.

    ``read_source`` gives the bytes of a file; only codemods and questions about whole texts ask for
    them. ``filenames`` are the files that it knows, those without facts among them.
    """
    return Model(Project(files, modules), read_source, filenames, for_map=for_map)
