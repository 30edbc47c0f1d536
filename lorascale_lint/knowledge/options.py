"""How programs declare their options, and where what a user gives is read."""

from __future__ import annotations

from collections.abc import Iterable

OPTION_CALLS = {
    "add_argument": "default",  # argparse.ArgumentParser.add_argument
    "add_arg": "default",  # configargparse
    "option": "default",  # click.option
    "DEFINE_float": "1",  # absl.flags.DEFINE_float(name, default, help)
    "DEFINE_integer": "1",  # absl.flags.DEFINE_integer
}
"""Calls that declare an option by the last part of their name: which argument is its default."""

FIELD_CALLS = {
    "field": ("default",),  # dataclasses.field, attrs.field
    "Field": ("default", "0"),  # pydantic.Field
    "Option": ("default", "0"),  # typer.Option
    "Argument": ("default", "0"),  # typer.Argument
    "HfArg": ("default",),  # transformers.hf_argparser.HfArg
}
"""Calls that stand where the default of a field or a parameter stands: which of their arguments it is."""

NUMBER_TYPES = frozenset("float int FLOAT INT".split())
"""Types of options that are one number, by the last part of their name: Python's, click's."""

GIVEN_BY_USERS = ("parse_args().", "argv[")
"""How the paths of values begin that a user gives on the command line."""


def option_names(texts: Iterable[str]) -> list[str]:
    """Names under which an option is read: ``lora_alpha`` of ``--lora-alpha``; click takes plain ones."""
    names = (text.lstrip("-").replace("-", "_").partition("/")[0] for text in texts)
    return [name for name in names if name.isidentifier()]


HOLDS_TEXT = ("metadata()[", "environ[", "argv[", "input()")
"""How the paths begin of what is always text: safetensors' metadata, the environment, the command line."""
