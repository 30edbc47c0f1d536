"""What the abstract interpreter makes of Python: values, branches, guards, and the work it takes."""

from __future__ import annotations

import time

import pytest

from lorascale_lint.facts.extract import extract_facts
from lorascale_lint.facts.terms import (
    DEPTH_LIMIT,
    Call,
    Choice,
    Const,
    Element,
    Guard,
    Item,
    Local,
    Opaque,
    Param,
    Term,
    Text,
    children,
    source_text,
    walk,
)
from tests.projects import events, function_of, returned


def body(*lines: str) -> str:
    return "def f(self, x, y, s, flag):\n" + "\n".join("    " + line for line in lines) + "\n"


def guards(found: tuple[Guard, ...]) -> list[tuple[str, bool, bool]]:
    return [(source_text(guard.test), guard.holds, guard.required) for guard in found]


def depth(term: Term) -> int:
    deepest: dict[int, int] = {}
    for item in reversed(walk(term)):
        deepest[id(item)] = 1 + max((deepest.get(id(child), 0) for child in children(item)), default=0)
    return deepest[id(term)]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["z = x", "return z * s"], "x * s"),
        (["z = w = x", "return w"], "x"),
        (["z: int = x", "return z"], "x"),
        (["a, b = x, y", "return b"], "y"),
        (["a, (b, c) = x, (y, s)", "return c"], "s"),
        (["a, b = x", "return b"], "x[1]"),
        (["a, b = x, y", "a, b = b, a", "return a"], "y"),
        (["x *= s", "return x"], "x * s"),
        (["x @= s", "return x"], "x @ s"),
        (["x += y * s", "return x"], "x + (y * s)"),
        (["x.mul_(s)", "return x"], "x.mul_(s)"),
        (["x.update(s)", "return x"], "x"),
        (["x._hidden_(s)", "return x"], "x"),
        (["(z := x * s)", "return z"], "x * s"),
        (["return (z := x) + z"], "x + x"),
        (["return x if flag else y"], "x if flag else y"),
        (["return not flag"], "not flag"),
        (["return -x"], "-x"),
        (["return +x"], "x"),
        (["return x < y <= s"], "x < y and y <= s"),
        (["return x or y"], "x or y"),
        (["return x[y].z"], "x[y].z"),
        (["return f'{x}.lora_{y}'"], 'f"{x}.lora_{y}"'),
        (["return await_(x, *y, s, k=s)"], "await_(x, k=s)"),
        (["with open(x) as z:", "    pass", "return z"], "open(x)"),
        (["with x as a, y as b:", "    return b"], "y"),
        (["if flag:", "    return 1", "else:", "    z = x", "return z"], "x"),
    ],
    ids=lambda value: "; ".join(value) if isinstance(value, list) else "",
)
def test_value_of_the_last_return(lines: list[str], text: str) -> None:
    assert source_text(events(body(*lines), "return")[-1].value) == text


def test_a_chain_of_in_place_methods_rebinds() -> None:
    assert source_text(returned(body("x.mul_(s).add_(y)", "return x"))) == "x.mul_(s).add_(y)"


def test_branches_join_to_a_choice() -> None:
    joined = returned(body("z = x", "if flag:", "    z = y", "return z"))
    assert isinstance(joined, Choice)
    assert source_text(joined) == "y if flag else x"


def test_elif_joins_to_nested_choices() -> None:
    lines = ["if flag:", "    z = x", "elif s:", "    z = y", "else:", "    z = s", "return z"]
    assert source_text(returned(body(*lines))) == "x if flag else y if s else s"


def test_a_name_that_no_branch_changes_stays_one_term() -> None:
    assert isinstance(returned(body("if flag:", "    z = y", "return x")), Param)


def test_branch_conditions_guard_what_happens_inside_only() -> None:
    found = events(body("if flag:", "    a(x)", "else:", "    b(x)", "c(x)"), "call")
    assert [guards(event.guards) for event in found] == [
        [("flag", True, False)],
        [("flag", False, False)],
        [],
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["if flag:", "    return", "use(x)"], [("flag", False, False)]),
        (["if not flag:", "    return", "use(x)"], [("flag", True, False)]),
        (["if flag:", "    raise E", "use(x)"], [("flag", False, True)]),
        (["assert flag", "use(x)"], [("flag", True, True)]),
        (["assert not flag", "use(x)"], [("flag", False, True)]),
        (["while flag:", "    use(x)"], [("flag", True, False)]),
        (["for i in y:", "    if flag:", "        continue", "    use(x)"], [("flag", False, False)]),
        (["[use(x) for i in y if flag]"], [("flag", True, False)]),
        (
            ["if flag:", "    if s:", "        return", "    use(x)"],
            [("flag", True, False), ("s", False, False)],
        ),
        (
            ["match s:", "    case 1 if flag:", "        use(x)"],
            [("s == 1", True, False), ("flag", True, False)],
        ),
        (["match s:", "    case [_, 'alpha']:", "        use(x)"], [("'alpha' in s", True, False)]),
        (["match s:", "    case 'a' | 'b':", "        use(x)"], [("s in ...", True, False)]),
    ],
    ids=lambda value: "; ".join(line.strip() for line in value) if isinstance(value[0], str) else "",
)
def test_guards_of_a_call(lines: list[str], expected: list[tuple[str, bool, bool]]) -> None:
    (found,) = (e for e in events(body(*lines), "call") if source_text(e.value) == "use(x)")
    assert guards(found.guards) == expected


def test_both_branches_that_return_end_the_function() -> None:
    lines = ["if flag:", "    return x", "else:", "    return y", "dead(x)"]
    assert events(body(*lines), "call") == []


@pytest.mark.parametrize(
    "lines",
    [
        ["z = x", "for i in y:", "    z = z * s", "return z"],
        ["z = x", "while flag:", "    z = z * s", "return z"],
        ["z = x", "try:", "    z = z * s", "except E:", "    pass", "return z"],
        ["z = x", "match s:", "    case 1:", "        z = z * s", "return z"],
    ],
    ids=["for", "while", "try", "match"],
)
def test_what_may_not_run_is_joined_with_what_was_before(lines: list[str]) -> None:
    joined = returned(body(*lines))
    assert isinstance(joined, Choice)
    assert joined.test is None
    assert {source_text(joined.then), source_text(joined.other)} == {"x", "x * s"}


@pytest.mark.parametrize("handler", ["raise", "return None"])
def test_a_handler_that_leaves_joins_nothing(handler: str) -> None:
    lines = ["try:", "    z = x", "except E:", f"    {handler}", "return z"]
    assert source_text(events(body(*lines), "return")[-1].value) == "x"


def test_finally_runs_after_every_outcome() -> None:
    lines = ["try:", "    return x", "finally:", "    close(y)"]
    assert [source_text(event.value) for event in events(body(*lines), "call")] == ["close(y)"]


@pytest.mark.parametrize("leave", ["break", "continue"])
def test_what_a_loop_binds_before_it_is_left_counts_behind_it(leave: str) -> None:
    value = returned(
        body("v = x", "for k in s:", "    if flag:", "        v = s[k]", f"        {leave}", "return v")
    )
    chosen = value.then if leave == "continue" and isinstance(value, Choice) else value
    assert isinstance(chosen, Choice)
    assert chosen.test is not None
    assert source_text(chosen.test) == "flag"
    assert isinstance(chosen.then, Item)
    assert isinstance(chosen.other, Param)


def test_a_loop_left_under_several_conditions_keeps_both_values() -> None:
    value = returned(
        body(
            "v = x", "while True:", "    if flag:", "        if y:", "            v = s", "            break"
        )
        + "    return v\n"
    )
    assert isinstance(value, Choice)
    assert value.test is None
    assert {source_text(value.then), source_text(value.other)} == {"s", "x"}


def test_names_bound_before_a_break_in_an_inner_loop_do_not_leave_the_outer_one_twice() -> None:
    value = returned(
        body(
            "v = x",
            "for k in s:",
            "    for j in k:",
            "        v = y",
            "        break",
            "    v = s",
            "return v",
        )
    )
    assert {source_text(part) for part in walk(value) if isinstance(part, Param)} == {"s", "x"}


def test_loop_and_comprehension_variables_are_elements() -> None:
    assert isinstance(returned(body("for i in x:", "    z = i", "    return z")), Element)
    inside = events(body("return [use(k) for k, v in x.items()]"), "call")[-1].value
    assert isinstance(inside, Call)
    assert isinstance(inside.args[0], Item)


def test_a_comprehension_variable_stays_inside() -> None:
    assert isinstance(returned(body("[x for x in y]", "return x")), Param)


def test_a_captured_match_name_is_part_of_the_subject() -> None:
    assert isinstance(returned(body("match x:", "    case [z, *_]:", "        return z")), Element)


def test_a_slice_has_an_opaque_key() -> None:
    assert isinstance(returned(body("return x[1:2]")), Item)
    assert source_text(returned(body("return x[1:2]"))) == "x[...]"


def test_lambdas_and_nested_functions_have_facts_of_their_own() -> None:
    source = body("def g(d):", "    return d * s", "h = lambda d: d + s", "return g, h")
    assert source_text(returned(source, "f.g")) == "d * s"
    names = [item.qualname for item in extract_facts(source).functions]
    assert names == ["f.g", "f.<lambda:4:9>", "f", "<module>"]
    assert isinstance(returned(body("def g(d): return d", "return g")), Local)


def test_in_place_arithmetic_of_an_attribute_is_a_write_with_its_sign() -> None:
    (write,) = events(body("self.weight.data += x * s"), "write")
    assert write.target is not None
    assert (source_text(write.target), write.sign, source_text(write.value)) == (
        "self.weight.data",
        "+",
        "x * s",
    )


def test_places_are_those_of_the_source() -> None:
    (call,) = events("def f(x):\n    y = (1,\n         use(x))\n", "call")
    assert (call.loc.row, call.loc.column, call.row, call.end_row) == (3, 10, 2, 3)


@pytest.mark.parametrize(
    "construct",
    [
        "async with x as z:\n        pass",
        "async for z in x:\n        pass",
        "global z",
        "del x",
        "type T = int",
    ],
)
def test_rare_statements_break_nothing(construct: str) -> None:
    source = f"async def f(x):\n    {construct}\n    use(x)\n"
    assert [source_text(event.value) for event in events(source, "call")][-1].startswith("use(")


# ---- bounds ---------------------------------------------------------------------------------


def test_deep_chains_are_cut() -> None:
    value = returned(body(*(["x = x + 1"] * (3 * DEPTH_LIMIT)), "return x"))
    assert depth(value) <= DEPTH_LIMIT
    assert any(isinstance(term, Opaque) for term in walk(value))


def test_many_branches_in_a_row_take_linear_work() -> None:
    lines = [line for i in range(2000) for line in (f"if c{i}:", f"    x = g{i}(x)")]
    found = function_of(body(*lines, "return x"))
    assert len(found.events) == 3 * 2000 + 1  # a test, a call and a bind each; one return
    assert max(len(event.guards) for event in found.events) == 1


def test_many_early_returns_keep_a_bounded_number_of_guards() -> None:
    lines = [line for i in range(500) for line in (f"if c{i}:", f"    return g{i}(x)")]
    found = function_of(body(*lines, "return x"))
    assert len(found.events) == 3 * 500 + 1
    assert max(len(event.guards) for event in found.events) <= 42


def test_a_long_generated_file_takes_bounded_time() -> None:
    block = "def lora_{0}(x, s, r):\n    d = x @ r\n    if s:\n        d *= s / r\n    return d\n"
    source = "".join(block.format(i) for i in range(4000))
    started = time.perf_counter()
    facts = extract_facts(source)
    assert time.perf_counter() - started < 60
    assert len(facts.functions) == 4001
    assert {len(item.events) for item in facts.functions[:-1]} == {4}


def test_constants_keep_their_value() -> None:
    found = returned(body("return (1, 2.5, 'a' 'b', None, True, 1_000)"))
    assert [term.value for term in children(found) if isinstance(term, Const)] == [
        1,
        2.5,
        "ab",
        None,
        True,
        1000,
    ]
    assert isinstance(returned(body("return f'a{x}b'")), Text)
