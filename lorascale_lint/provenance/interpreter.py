"""Puts together what runs code: expressions, calls and statements, which all lead back to each other."""

from __future__ import annotations

from lorascale_lint.linking.program import Program
from lorascale_lint.provenance.calls import call
from lorascale_lint.provenance.expressions import evaluate
from lorascale_lint.provenance.machine import Interpreter, Machine
from lorascale_lint.provenance.statements import block


def machine_for(program: Program) -> Machine:
    """A machine that has looked at nothing yet."""
    return Machine(program, Interpreter(evaluate, call, block))
