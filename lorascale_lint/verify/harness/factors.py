"""Which tensors of a layer are its factors: by what the analysis saw put there, by name, and by shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from lorascale_lint.knowledge.roles import words as word_list
from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.description import ONES, Assignment, Role, Value
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.settings import RANK, Setting

Shapes = Mapping[str, tuple[int, ...]]
_OTHER = {Role.A: Role.B, Role.B: Role.A}


def assignments(tensors: Shapes, setting: Setting, told: Mapping[str, Role]) -> tuple[Assignment, ...]:
    """Both factors of each module that has an adapter; () if there are none to be seen.

    Raises CannotBuildError for tensors that are called factors and are none.
    """
    named = {path: role for path in tensors if (role := role_at(path, setting, told)) in (Role.A, Role.B)}
    if not named:
        # By the letter alone, where nothing says more.
        named = {path: side for path in tensors if (side := words.side_of(path)) in (Role.A, Role.B)}
    if len(setting.modules) > 1:
        return tuple(_fused(tensors, named, setting))
    problem = None
    try:
        found = tuple(_pair(tensors, named, setting))
    except CannotBuildError as error:
        found, problem = (), error
    if len(found) < 2:
        found = tuple(_pair(tensors, dict(_by_shape(tensors, setting)), setting))
    if len(found) < 2 and problem is not None:
        raise problem
    return found if len(found) == 2 else ()


def second_pair(tensors: Shapes, setting: Setting, taken: Collection[str]) -> tuple[Assignment, ...]:
    """Ones for a pair beside the one at the paths `taken`, if there is exactly one: () else."""
    found: list[Assignment] = []
    for role in (Role.B, Role.A):
        fitting = [
            path
            for path, shape in tensors.items()
            if _with_adapter(path, setting) not in taken and _lies(shape, role, setting) is not None
        ]
        if len(fitting) != 1:
            return ()
        turned = bool(_lies(tensors[fitting[0]], role, setting))
        value = Value(role, transposed=turned, literal=ONES)
        found.append(Assignment(_with_adapter(fitting[0], setting), value))
    return tuple(found)


def role_at(path: str, setting: Setting, told: Mapping[str, Role]) -> Role | None:
    """What lies at a path, by the last step that says anything, and by what was seen to be put there."""
    silent = ("weight", "data", setting.adapter)
    steps = [step for step in path.split(".") if step not in silent and not step.isdecimal()]
    if not steps:
        return None
    return words.role_of(steps[-1]) or told.get(steps[-1]) or told.get(steps[0])


def _pair(tensors: Shapes, named: Mapping[str, Role], setting: Setting) -> Iterator[Assignment]:
    """The first tensor of each role that has the shape of a factor."""
    found: dict[Role, str] = {}
    # Some call the factor on the output's side A.
    for turned in (False, True):
        fitting: dict[Role, str] = {}
        for path, role in named.items():
            meant = _OTHER[role] if turned else role
            if _lies(tensors[path], meant, setting) is not None:
                fitting.setdefault(meant, path)
        found = max(found, fitting, key=len)
    if len(found) < 2 and len(set(named.values())) == 2:
        path = next(iter(named))
        raise CannotBuildError(f"`{path}` has the shape {tensors[path]}, which is no factor's of rank {RANK}")
    for role, path in found.items():
        transposed = bool(_lies(tensors[path], role, setting))
        yield Assignment(_with_adapter(path, setting), Value(role, transposed=transposed))


def _by_shape(tensors: Shapes, setting: Setting) -> Iterator[tuple[str, Role]]:
    """No two sizes of a layer are alike, so that a tensor of rank x in can only be A."""
    shape = setting.modules[0].shape
    if len({shape.out, shape.inputs, RANK}) < 3:
        return
    for role in (Role.A, Role.B):
        fitting = [path for path, found in tensors.items() if _lies(found, role, setting) is not None]
        if len(fitting) == 1:
            yield fitting[0], role


def _fused(tensors: Shapes, named: Mapping[str, Role], setting: Setting) -> Iterator[Assignment]:
    """One pair for each part of a fused layer, as their names tell them apart."""
    groups: dict[str, dict[Role, str]] = defaultdict(dict)
    for path, role in named.items():
        if _lies(tensors[path], role, setting) is not None:
            groups[_part(_without_adapter(path, setting))].setdefault(role, path)
    whole = {name: pair for name, pair in groups.items() if len(pair) == 2}
    if not whole:
        yield from _stacked(tensors, named, setting)
        return
    for number, pair in zip(_numbers(list(whole), len(setting.modules)), whole.values(), strict=True):
        for role, path in pair.items():
            transposed = bool(_lies(tensors[path], role, setting))
            value = Value(role, transposed=transposed, modules=(number,))
            yield Assignment(_with_adapter(path, setting), value)


def _stacked(tensors: Shapes, named: Mapping[str, Role], setting: Setting) -> Iterator[Assignment]:
    """Pairs of several parts that lie in one tensor for each side, one below the other."""
    shape = setting.modules[0].shape
    for parts in ((0, 2), (0, 1, 2)):
        right = {Role.A: (len(parts) * RANK, shape.inputs), Role.B: (len(parts) * shape.out, RANK)}
        found = {role: path for path, role in named.items() if without_ones(tensors[path]) == right[role]}
        if len(found) == 2:
            for role, path in found.items():
                yield Assignment(_with_adapter(path, setting), Value(role, modules=parts))
            return
    raise CannotBuildError("its factors are not those of one part each")


def numbers_of(named: Mapping[str, Role]) -> Mapping[str, int]:
    """Which part of a fused layer each parameter for a factor belongs to."""
    parts = {name: _part(name) for name in named}
    groups = list(dict.fromkeys(parts.values()))
    try:
        numbers = dict(zip(groups, _numbers(groups, 3), strict=True))
    except CannotBuildError:
        return {}
    return {name: numbers[part] for name, part in parts.items()}


def _part(path: str) -> str:
    """What of a path is not its role."""
    said = [word for step in path.split(".") for word in word_list(step)]
    return " ".join(word for word in said if word in words.FUSED) or " ".join(
        word for word in said if words.role_of(word) is None
    )


def _numbers(parts: Sequence[str], count: int) -> Sequence[int]:
    if len(parts) > count:
        raise CannotBuildError(f"it has {len(parts)} pairs of factors")
    known = [words.FUSED.get(part) for part in parts]
    said = [number for number in known if number is not None]
    if len(set(said)) < len(said):
        return range(len(parts))
    # The others in their order, where no name says which.
    free = iter(number for number in range(count) if number not in said)
    return [next(free) if number is None else number for number in known]


def _lies(shape: Collection[int], role: Role, setting: Setting) -> bool | None:
    """Whether a tensor of that shape is this factor transposed; None: it is not this factor.

    One of a stack of one has a dimension more, and a convolution's may lie flat.
    """
    module = setting.modules[0]
    factor = module.a if role is Role.A else module.b
    right = module.shape.native(role, factor).shape
    kinds = {tuple(shape), without_ones(shape)}
    if kinds & {right, factor.shape}:
        return False
    return True if kinds & {(*right[1::-1], *right[2:]), factor.shape[::-1]} else None


def without_ones(shape: Collection[int]) -> tuple[int, ...]:
    """What remains of the shape of one of a stack of one, or of a kernel of one number."""
    return tuple(size for size in shape if size != 1)


def _with_adapter(path: str, setting: Setting) -> str:
    return ".".join("{adapter}" if step == setting.adapter else step for step in path.split("."))


def _without_adapter(path: str, setting: Setting) -> str:
    return ".".join(step for step in path.split(".") if step != setting.adapter)
