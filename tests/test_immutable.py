"""Classes whose methods are written when they are asked for behave as those of `dataclasses`."""

from __future__ import annotations

import copy
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, is_dataclass
from typing import ClassVar

import pytest

from lorascale_lint.immutable import immutable, replace


@immutable(frozen=True, slots=True)
class Base:
    """Has one field."""

    name: str


@immutable(frozen=True, slots=True)
class Made(Base):
    """Has each kind of field."""

    COUNT: ClassVar[int] = 3
    scale: float = 1.0
    rows: list[int] = field(default_factory=list, compare=False)
    note: str = field(default="", compare=False, repr=False)
    size: int = field(default=0, init=False, compare=False)

    def __post_init__(self) -> None:
        """Find the size out."""
        object.__setattr__(self, "size", len(self.name))


@immutable(frozen=True, slots=True, eq=False)
class Itself:
    """Is equal to itself only."""

    name: str


@dataclass(frozen=True)
class Plain:
    """What `dataclasses` makes of the same fields."""

    name: str
    scale: float = 1.0
    rows: list[int] = field(default_factory=list, compare=False)
    note: str = field(default="", compare=False, repr=False)
    size: int = field(default=0, init=False, compare=False)


def test_it_is_made_shown_and_changed_as_a_dataclass() -> None:
    one = Made("A", rows=[1])
    assert (one.name, one.scale, one.rows, one.note, one.size) == ("A", 1.0, [1], "", 1)
    assert Made("A").rows is not Made("A").rows
    assert repr(one) == "Made(name='A', scale=1.0, rows=[1], size=1)"
    assert [item.name for item in fields(Made)] == [item.name for item in fields(Plain)]
    assert is_dataclass(one)
    assert Made.COUNT == 3
    assert replace(one, name="AB") == Made("AB")
    assert list(inspect.signature(Made).parameters) == list(inspect.signature(Plain).parameters)
    assert not hasattr(one, "__dict__")
    with pytest.raises(TypeError):
        Made()  # type: ignore[call-arg]


def test_fields_that_are_compared_tell_two_apart() -> None:
    assert Made("A", 2.0, [1], "x") == Made("A", 2.0)
    assert hash(Made("A", 2.0, [1])) == hash(Made("A", 2.0))
    assert Made("A") != Made("B")
    assert Made("A") != Base("A")
    assert Itself("A") != Itself("A")
    assert len({Itself("A"), Itself("A")}) == 2


@immutable(frozen=True, slots=True)
class Pair(Base):
    """Nothing is found out when it is made."""

    scale: float = 1.0
    note: str = field(default="", compare=False)


@pytest.mark.parametrize("one", [Pair("A", 2.0, "x"), Base("A"), Made("A"), Plain("A")])
def test_one_with_other_fields_leaves_the_first_as_it_was(one: Pair | Base | Made | Plain) -> None:
    other = replace(one, name="BC")
    assert (one.name, other.name, type(other)) == ("A", "BC", type(one))
    assert other == type(one)(**{item.name: getattr(other, item.name) for item in fields(one) if item.init})
    assert getattr(other, "note", "") == getattr(one, "note", "")
    with pytest.raises((TypeError, AttributeError)):
        replace(one, nothing=1)  # type: ignore[call-arg]


def test_a_pattern_takes_it_apart() -> None:
    match Made("A", 2.0):
        case Made(name, scale):
            assert (name, scale) == ("A", 2.0)
        case _:
            pytest.fail("no match")


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_equal(again: object) -> None:
    one = Made("A", 2.0, [1], "x")
    other = again(one)  # type: ignore[operator]
    assert other == one
    assert (other.rows, other.note, other.size) == ([1], "x", 1)


def test_what_nobody_asks_for_is_not_written() -> None:
    @immutable(frozen=True, slots=True)
    class Fresh:
        name: str

    assert not any(inspect.isfunction(vars(Fresh)[name]) for name in ("__init__", "__eq__", "__hash__"))
    one = Fresh("A")
    assert inspect.isfunction(vars(Fresh)["__init__"])
    assert not inspect.isfunction(vars(Fresh)["__eq__"])
    assert one == Fresh("A")
    assert not inspect.isfunction(vars(Fresh)["__hash__"])
    assert {one: 1}[Fresh("A")] == 1


def test_own_methods_stay() -> None:
    @immutable(frozen=True, slots=True)
    class Own:
        name: str

        def __hash__(self) -> int:
            return 7

        def __repr__(self) -> str:
            return "own"

    assert (hash(Own("A")), repr(Own("A")), Own("A") == Own("A")) == (7, "own", True)


def test_many_threads_make_the_first_object() -> None:
    for _ in range(20):

        @immutable(frozen=True, slots=True)
        class Fresh:
            name: str
            note: str = field(default="", compare=False)

        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda number: Fresh("A", str(number)), range(8)))
        assert len(set(made)) == 1
