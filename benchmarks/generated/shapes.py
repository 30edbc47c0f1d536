"""From choices to a program, by its shape."""

from __future__ import annotations

import random
from contextlib import suppress

from benchmarks.generated.code import Incompatible
from benchmarks.generated.compose import Composed, Composer
from benchmarks.generated.functions import call_shape, function_shape, module_state_shape, patched_shape
from benchmarks.generated.loaders import file_shape, file_to_object_shape
from benchmarks.generated.objects import write_class
from benchmarks.generated.programs import Program, draw


def compose(program: Program) -> Composed:
    """Write a program; raises ``Incompatible`` where its choices don't go together."""
    composer = Composer(program)
    match composer.shape:
        case "function":
            driver, marked = function_shape(composer), [composer.kind]
        case "call":
            driver, marked = call_shape(composer), [composer.kind]
        case "patched" | "hook":
            driver, marked = patched_shape(composer), ["forward"]
        case "module state":
            driver, marked = module_state_shape(composer), [composer.kind]
        case "object":
            driver, marked = write_class(composer, "")
        case "file, object":
            driver, marked = file_to_object_shape(composer)
        case _:
            driver, marked = file_shape(composer, calls="call" in composer.shape), [composer.kind]
    files, marks = composer.project.files()
    scenarios = {kind: composer.scenarios(kind) for kind in marked}
    return Composed(files, marks, driver, composer.layout, scenarios, composer.used)


def numbered(seed: int, number: int) -> tuple[Program, Composed]:
    """Program ``number`` of a seed, whatever was drawn before it."""
    source = random.Random(f"{seed}/{number}")
    while True:
        program = draw(source)
        with suppress(Incompatible):
            return program, compose(program)
