"""What a number is where nobody sets it: options of the command line, fields, parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.knowledge.options import OPTION_CALLS, option_names
from lorascale_lint.ledger.entries import Default, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.values import Text


class Defaults:
    """The defaults of a project by the name under which the number is read."""

    def __init__(self, ledger: Ledger) -> None:
        self._found: dict[str, list[Default]] = defaultdict(list)
        seen: set[tuple[str, int, str]] = set()
        for item in (*_options(ledger), *ledger.defaults):
            place = (item.spot.file.filename, item.spot.row, item.name)
            if place not in seen:
                seen.add(place)
                self._found[item.name].append(item)

    def of(self, origin: str, spot: Spot) -> list[Default]:
        """What ``origin`` (``args.lora_alpha``) may be by default, as code at ``spot`` reads it.

        Those of the files that are involved; else those of the whole project.
        """
        owner, _, name = origin.removesuffix("[*]").rpartition(".")  # one of several: ``args.alphas``
        known = self._found.get(name, [])
        if not owner:
            function = spot.function.qualname if spot.function is not None else ""
            own = spot.function is not None and name in spot.function.parameters
            fields = ("option",) if own else ("option", "field")  # of a record that somebody made
            known = [item for item in known if item.how in fields or item.owner == function]
        else:
            known = [item for item in known if item.how != "parameter"]
        files = {spot.file.filename, *(step.rpartition(":")[0] for step in spot.chain)}
        near = [item for item in known if item.spot.file.filename in files]
        return near or (known if owner else [])


def _options(ledger: Ledger) -> Iterator[Default]:
    for use in ledger.uses:
        argument = OPTION_CALLS.get(use.called)
        if argument is not None and argument in use.given:
            for name in names_of(use):
                yield Default(use.spot, name, use.given[argument], "option")


def names_of(use: Use) -> list[str]:
    """The names under which the option is read that a call declares; of absl, help stands behind it."""
    places = "0" if OPTION_CALLS[use.called].isdecimal() else "0123"
    given = (use.given.get(place) for place in ("dest", *places))
    return option_names(text.literal for text in given if isinstance(text, Text) and text.literal)
