"""The heap: a branch is taken back whole, and several ways are joined cell by cell."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import given, strategies as st

from lorascale_lint.provenance.heap import ABSENT, Entries, Heap, Items, Names, merge
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Alternative, Number, Text, Union, select

slots = st.sampled_from(["x", "y", "z"])
keys = st.integers(1, 3)
writes = st.lists(st.tuples(keys, slots, st.integers(0, 5)), max_size=12)


def number(value: int) -> Number:
    return Number(Scale(Fraction(value)))


def write_all(heap: Heap, rows: list[tuple[int, str, int]]) -> None:
    for key, slot, value in rows:
        heap.write(key, slot, number(value))


@given(writes, writes)
def test_undo_restores_and_returns_what_was_made(before: Any, inside: Any) -> None:
    heap = Heap()
    write_all(heap, before)
    kept = dict(heap.cells)
    heap.begin()
    write_all(heap, inside)
    after = dict(heap.cells)
    made = heap.undo()
    assert heap.cells == kept
    assert {**kept, **made} == after
    assert not heap.journals


@given(writes, writes, writes)
def test_a_kept_branch_is_taken_back_with_the_outer_one(before: Any, outer: Any, inner: Any) -> None:
    heap = Heap()
    write_all(heap, before)
    kept = dict(heap.cells)
    heap.begin()
    write_all(heap, outer)
    heap.begin()
    write_all(heap, inner)
    heap.keep()
    assert heap.changes() == {(k, s): heap.read(k, s) for k, s, _ in (*outer, *inner)}
    heap.undo()
    assert heap.cells == kept


@given(writes, writes, writes)
def test_apply_joins_two_ways_and_each_is_found_again(before: Any, left: Any, right: Any) -> None:
    heap, ways = Heap(), []
    write_all(heap, before)
    ends = []
    for rows, holds in ((left, True), (right, False)):
        heap.begin()
        write_all(heap, rows)
        ends.append(dict(heap.cells))
        ways.append((heap.undo(), (("test", holds),)))
    heap.apply(ways)
    for cell in {*ends[0], *ends[1]}:
        for end, holds in zip(ends, (True, False), strict=True):
            assert select(heap.cells[cell], (("test", holds),)) == end.get(cell, ABSENT)


def test_what_only_one_way_stores_may_be_absent() -> None:
    yes, no = (("test", True),), (("test", False),)
    assert merge([(number(1), yes), (None, no)]) == Union(
        (Alternative(number(1), yes), Alternative(ABSENT, no))
    )


def test_lists_of_one_length_are_joined_by_place_and_others_are_open() -> None:
    yes, no = (("test", True),), (("test", False),)
    same = merge([(Items((number(1), number(2))), yes), (Items((number(1), number(3))), no)])
    assert same == Items((number(1), Union((Alternative(number(2), yes), Alternative(number(3), no)))))
    other = merge([(Items((number(1),)), yes), (Items((number(1), number(3))), no)])
    assert other == Items((number(1), number(3)), True)


def test_entries_are_joined_by_key() -> None:
    yes, no = (("test", True),), (("test", False),)
    key = Text(("a",))
    joined = merge([(Entries(((key, number(1)),)), yes), (Entries(()), no)])
    assert joined == Entries(((key, Union((Alternative(number(1), yes), Alternative(ABSENT, no)))),), False)


def test_names_are_found_in_the_functions_around() -> None:
    outer = Names({"a": number(1), "b": number(2)})
    inner = Names({"a": number(3)}, outer)
    assert (inner.find("a"), inner.find("b"), inner.find("c")) == (number(3), number(2), None)
