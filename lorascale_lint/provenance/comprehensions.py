"""Comprehensions and generators."""

from __future__ import annotations

import ast
from typing import Any

from lorascale_lint.bounds import UNROLL_LIMIT
from lorascale_lint.provenance.assignment import assign
from lorascale_lint.provenance.conditions import assume, test
from lorascale_lint.provenance.containers import element_of
from lorascale_lint.provenance.lookups import wrote
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import LOOP
from lorascale_lint.provenance.sequences import new_set
from lorascale_lint.provenance.values import Value


def comprehension(m: Machine, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
    frame = m.frame
    names, guards = frame.names.local, frame.guards
    frame.names.local = dict(names)
    values: list[Any] = []
    state = {"open": False}

    def clause(index: int) -> None:
        if index == len(node.generators):
            if isinstance(node, ast.DictComp):
                values.append((m.evaluate(node.key), m.evaluate(node.value), frame.guards))
            else:
                values.append(m.evaluate(node.elt))
            return
        generator = node.generators[index]
        source = m.evaluate(generator.iter)
        held = m.elements(source)
        if held is not None and not held[1] and len(held[0]) <= UNROLL_LIMIT:
            rounds = held[0]
        elif held is not None and not held[0] and not held[1]:
            rounds = []
        else:
            rounds, state["open"] = [element_of(m, source)], True
        whole = held is not None and rounds is held[0]
        for one in rounds:
            inner, local = frame.guards, dict(frame.names.local)
            if not whole:
                m.assume(f"{LOOP}{generator.iter.lineno}, column {generator.iter.col_offset}", True)
            assign(m, generator.target, one)
            wanted = True
            for condition in generator.ifs:
                known = test(m, condition)
                if known is False:
                    wanted = False
                    break
                if known is None:
                    state["open"] = True
                    assume(m, condition, True)
            if wanted:
                clause(index + 1)
            frame.guards, frame.names.local = inner, local

    clause(0)
    frame.names.local, frame.guards = names, guards
    if isinstance(node, ast.DictComp):
        made = m.new_dict([(key, value) for key, value, _ in values], state["open"])
        for key, value, inside in values:
            frame.guards = inside
            wrote(m, node.value, made, key, value)
        frame.guards = guards
        return made
    if isinstance(node, ast.SetComp):
        return new_set(m, values, state["open"])
    return m.new_list(values, state["open"])
