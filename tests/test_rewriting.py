"""From old and new code to edits: exact, and the same however often they are computed."""

from __future__ import annotations

import libcst as cst
import pytest
from hypothesis import example, given, strategies as st

from lorascale_lint.findings import Edit, Position
from lorascale_lint.fixing.line_edits import line_edits
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.sources.loc import Loc
from lorascale_lint.sources.text import SourceText

lines = st.lists(st.sampled_from(["a", "b", "  c", "", "ü"]), max_size=8)
newlines = st.sampled_from(["\n", "\r\n", "\r"])


def applied(old: str, edits: tuple[Edit, ...]) -> str:
    text = SourceText.decode(old.encode())
    for edit in sorted(edits, reverse=True):
        old = old[: text.offset(edit.span.start)] + edit.content + old[text.offset(edit.span.end) :]
    return old


def source(found: list[str], newline: str, ended: bool) -> str:
    return newline.join(found) + (newline if ended and found else "")


@example(["b", "a", "b"], ["  c", "b", "a", "b", "a", "b"], "\n", True, True)
@example(["a", "b", "a", "b"], ["a", "  c", "b", "a", "b", "a", "  c", "b", "a", "b"], "\n", True, True)
@given(lines, lines, newlines, st.booleans(), st.booleans())
def test_edits_turn_old_into_new(
    before: list[str], after: list[str], newline: str, ended: bool, ends: bool
) -> None:
    old, new = source(before, newline, ended), source(after, newline, ends)
    assert applied(old, line_edits("f", old, new)) == new


@example(["a", "b", "a", "b"], ["a", "  c", "b", "a", "b"], "\n", "\n")
@given(lines, lines, newlines, newlines)
def test_mixed_line_ends(before: list[str], after: list[str], first: str, second: str) -> None:
    old, new = source(before, first, True), source(after, first, True) + source(after, second, True)
    assert applied(old, line_edits("f", old, new)) == new


@given(lines, newlines)
def test_no_change_is_no_edit(found: list[str], newline: str) -> None:
    text = source(found, newline, True)
    assert line_edits("f", text, text) == ()


@given(st.integers(0, 5), st.integers(1, 3), st.integers(0, 5))
def test_edits_touch_only_the_lines_that_differ(head: int, added: int, tail: int) -> None:
    old = [f"line {i}\n" for i in range(head + tail)]
    new = [*old[:head], *["new\n"] * added, *old[head:]]
    (edit,) = line_edits("f", "".join(old), "".join(new))
    assert edit.content == "new\n" * added
    assert edit.span.start == edit.span.end == Position(head + 1, 1)


def test_one_insertion_has_one_place_however_the_lines_around_it_repeat() -> None:
    repeated = "x\n\nx\n\nx\n"
    one = line_edits("f", "a\n" + repeated, "a\nx\n\n" + repeated)
    two = line_edits("f", "a\n" + repeated, "a\n" + repeated[:3] + "x\n\n" + repeated[3:])
    assert one == two
    assert one[0].span.start == Position(2, 1)


def test_text_behind_a_last_line_without_end() -> None:
    (edit,) = line_edits("f", "a\nb", "a\nb\nc")
    assert applied("a\nb", (edit,)) == "a\nb\nc"
    assert edit.span.end == Position(2, 2)


# ---- changes of nodes -----------------------------------------------------------------------

SOURCE = b"def f(x):\r\n    y = x + 1  # kept\r\n    return y\r\n"
SUM = Loc(2, 9, 2, 14)


def negate(node: cst.CSTNode) -> cst.CSTNode:
    assert isinstance(node, cst.BinaryOperation)
    return cst.UnaryOperation(cst.Minus(), node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()]))


def test_a_node_is_changed_at_its_place() -> None:
    rewrite = Rewrite("f.py", SOURCE)
    rewrite.change(SUM, cst.BinaryOperation, negate)
    edits = rewrite.finish()
    assert edits is not None
    assert applied(SOURCE.decode(), edits).encode() == SOURCE.replace(b"x + 1", b"-(x + 1)")


def test_the_same_change_computed_twice_gives_the_same_edits() -> None:
    found = []
    for _ in range(2):
        rewrite = Rewrite("f.py", SOURCE)
        rewrite.change(SUM, cst.BinaryOperation, negate)
        found.append(rewrite.finish())
    assert found[0] == found[1]


def test_later_changes_see_earlier_ones() -> None:
    rewrite = Rewrite("f.py", b"x + 1\n")
    rewrite.change(Loc(1, 1, 1, 6), cst.BinaryOperation, lambda node: cst.Name("y"))
    rewrite.change(
        Loc(1, 1, 1, 6), cst.BinaryOperation, lambda node: cst.Call(cst.ensure_type(node, cst.Name))
    )
    edits = rewrite.finish()
    assert edits is not None
    assert applied("x + 1\n", edits) == "y()\n"


@pytest.mark.parametrize(
    ("loc", "kind"),
    [(Loc(2, 9, 2, 13), cst.BinaryOperation), (SUM, cst.Call), (Loc(9, 1, 9, 2), cst.Name)],
    ids=["place", "kind", "row"],
)
def test_a_change_that_meets_no_node_gives_no_edits_at_all(loc: Loc, kind: type[cst.CSTNode]) -> None:
    rewrite = Rewrite("f.py", SOURCE)
    rewrite.change(SUM, cst.BinaryOperation, negate)
    rewrite.change(loc, kind, lambda node: node)
    assert rewrite.finish() is None


def test_a_file_that_is_not_what_was_seen_spoils_the_whole_repair() -> None:
    sources = {"a.py": SOURCE, "b.py": b"pass\n"}
    rewrites = Rewrites(sources.__getitem__)
    for name in sources:
        rewrites.of(name).change(SUM, cst.BinaryOperation, negate)
    assert rewrites.finish() == ()
    whole = Rewrites({"a.py": SOURCE, "b.py": SOURCE}.__getitem__)
    for name in ("b.py", "a.py"):
        whole.of(name).change(SUM, cst.BinaryOperation, negate)
    assert [edit.span.filename for edit in whole.finish()] == ["a.py", "b.py"]


def test_find_and_enclosing() -> None:
    rewrite = Rewrite("f.py", SOURCE)
    node = rewrite.find(SUM, cst.BinaryOperation)
    assert node is not None
    assert rewrite.code(node) == "x + 1"
    assert rewrite.find(SUM, cst.Call) is None
    function = rewrite.enclosing(SUM, cst.FunctionDef)
    assert function is not None
    assert cst.ensure_type(function[0], cst.FunctionDef).name.value == "f"
    inner = rewrite.enclosing(Loc(2, 9, 2, 10), cst.BinaryOperation)
    assert inner is not None
    assert inner[1] == SUM


# ---- only what changes is made anew -----------------------------------------------------------

NESTED = '''\
# head
import os


@decorated(
    1,
)
# between
class Outer:  # colon

    """Page."""

    class Inner:
      def f(self):
        if self.a:
                return 1  # one
        elif self.b: x = 2; return x
        else:
            pass

    # above
    def g(self):
        for i in range(3): print(i)
        # foot


def h(): return 4'''


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n# foot\n"])
def test_each_number_is_changed_as_if_the_whole_file_were_made_anew(end: str, last: str) -> None:
    text = (NESTED + last).replace("\n", end)
    tree = Rewrite("f.py", text.encode()).tree
    numbers = [place for _, place in tree.nodes(cst.Integer)]
    assert len(numbers) == 5
    for chosen in (numbers, *([number] for number in numbers)):
        rewrite = Rewrite("f.py", text.encode())
        for place in chosen:
            rewrite.change(place, cst.Integer, lambda node: cst.Name("new"))
        edits = rewrite.finish()
        assert edits is not None
        rows = text.splitlines(keepends=True)
        for place in sorted(chosen, reverse=True, key=lambda place: (place.row, place.column)):
            row = rows[place.row - 1]
            rows[place.row - 1] = row[: place.column - 1] + "new" + row[place.end_column - 1 :]
        assert applied(text, edits) == "".join(rows)


def test_a_statement_that_goes_leaves_a_block_that_is_valid() -> None:
    text = "def f():\n    while x:\n        drop(x)\n    keep(1)\n    drop(y)\ndrop(z)\n"
    rewrite = Rewrite("f.py", text.encode())
    for line, place in rewrite.tree.nodes(cst.SimpleStatementLine):
        if "drop" in rewrite.code(line):
            rewrite.change(place, cst.SimpleStatementLine, lambda node: cst.FlattenSentinel([]))
    edits = rewrite.finish()
    assert edits is not None
    assert applied(text, edits) == "def f():\n    while x:\n        pass\n    keep(1)\n"


def test_a_change_inside_of_a_changed_statement() -> None:
    text = "class A:\n    def f(self):\n        return 1\n\nx = 2\n"
    rewrite = Rewrite("f.py", text.encode())
    rewrite.change(rewrite.tree.nodes(cst.Integer)[0][1], cst.Integer, lambda node: cst.Integer("3"))
    place = rewrite.tree.nodes(cst.ClassDef)[0][1]
    before = cst.parse_statement("before()\n")
    rewrite.change(place, cst.ClassDef, lambda node: cst.FlattenSentinel([before, node]))
    edits = rewrite.finish()
    assert edits is not None
    assert applied(text, edits) == "before()\n" + text.replace("1", "3")


def test_the_cost_of_a_repair_does_not_grow_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts the nodes that are made anew or printed: the same in a file of ten and of a hundred classes."""
    made: list[object] = []
    really = cst.CSTNode._codegen

    def counted(self: cst.CSTNode, state: object, **options: object) -> None:
        made.append(self)
        really(self, state, **options)  # type: ignore[arg-type]

    counts = []
    for classes in (10, 100):
        texts = [f"class C{i}:\n    def f(self):\n        return self.a + {i}\n\n" for i in range(classes)]
        rewrite = Rewrite("f.py", "".join(texts).encode())
        assert rewrite.text == "".join(texts)
        place = rewrite.tree.nodes(cst.BinaryOperation)[-1][1]
        rewrite.change(place, cst.BinaryOperation, negate)
        made.clear()
        with monkeypatch.context() as patch:
            patch.setattr(cst.CSTNode, "_codegen", counted)
            assert rewrite.finish()
        counts.append(len(made))
    assert counts[0] == counts[1] < 100
