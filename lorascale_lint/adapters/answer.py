"""What a person wants to know of a file, in a sentence: what to pass to the loader that it was made for."""

from __future__ import annotations

from collections.abc import Sequence

from lorascale_lint.adapters.adapter import Adapter
from lorascale_lint.adapters.predictions import Outcome, Prediction
from lorascale_lint.knowledge.conventions import convention_named

_MOST_RIGHT = 3
_MOST_WRONG = 2
_RIGHT = (Outcome.RIGHT, Outcome.RIGHT_IF_RANK)


def by_relevance(adapter: Adapter, predictions: Sequence[Prediction]) -> list[Prediction]:
    """The loader that reads this layout first, then whoever would apply it wrongly, then the rest."""
    home = _home(adapter)

    def place(item: Prediction) -> tuple[int, int]:
        if item.loader.key in home and item.outcome not in (Outcome.NOTHING, Outcome.REFUSED):
            return 0, home.index(item.loader.key)
        order = (Outcome.WRONG, Outcome.DEPENDS, Outcome.RIGHT, Outcome.RIGHT_IF_RANK, Outcome.REFUSED)
        return 1 + (order.index(item.outcome) if item.outcome in order else len(order)), 0

    return sorted(predictions, key=place)


def answer(adapter: Adapter, predictions: Sequence[Prediction]) -> str:
    """The file in one sentence; "" if nothing is known that helps.

    Of the loaders that apply it right those for which it was made come first.
    """
    ordered = by_relevance(adapter, predictions)
    right = [item for item in ordered if item.outcome in _RIGHT]
    wrong = [item for item in ordered if item.outcome is Outcome.WRONG and _clearly(item)]
    parts: list[str] = []
    assumed = [item for item in adapter.scaled if item.assumed]
    if assumed:
        parts.append(_if_rank(adapter, _best(adapter, right)))
        # Where nobody is known to apply it right, the first who is known not to.
        unable = [item for item in ordered if item.outcome is Outcome.WRONG and item.factor is None]
        parts += [_own(item) for item in unable if not right][:1]
    elif right:
        parts.append(_passed(_best(adapter, right)))
    else:
        parts += [_own(item) for item in ordered if item.loader.key in _home(adapter)][:1]
    if wrong:
        parts.append(" and ".join(_strength(item) for item in _worst(wrong)))
    text = "; ".join(part for part in parts if part)
    return text[:1].upper() + text[1:]


def _home(adapter: Adapter) -> tuple[str, ...]:
    return convention_named(adapter.convention.name).home


def _best(adapter: Adapter, right: Sequence[Prediction]) -> list[Prediction]:
    home = _home(adapter)
    own = [item for item in right if item.loader.key in home]
    return list(own or right)[:_MOST_RIGHT]


def _passed(right: Sequence[Prediction]) -> str:
    """`alpha=1.0` to one loader, strength 1 to the next."""
    given: dict[str, list[str]] = {}
    for item in right:
        given.setdefault(item.argument, []).append(_name(item))
    asked = [f"`{argument}` to {_listed(names)}" for argument, names in given.items() if argument]
    silent = given.get("", [])
    told = [f"pass {', '.join(asked)}"] if asked else []
    if silent:
        told.append(f"{_listed(silent)} {'apply' if len(silent) > 1 else 'applies'} it right as it is")
    return "; ".join(told)


def _if_rank(adapter: Adapter, right: Sequence[Prediction]) -> str:
    ranks = {item.rank for item in adapter.scaled if item.assumed and item.rank}
    rank = str(*ranks) if len(ranks) == 1 else "rank"
    why = "alpha 0 is a placeholder" if any(item.placeholder for item in adapter.scaled) else "no alpha in it"
    whose = f" ({rank})" if rank != "rank" else ""
    what = _passed(right) if any(item.argument for item in right) else "a strength of 1 is right"
    return f"{why}: {what} if alpha was the rank{whose}, else alpha / {rank}"


def _own(item: Prediction) -> str:
    """The loader that the file was made for, where it does not simply apply it right."""
    if item.outcome is Outcome.DEPENDS:
        return f"{_name(item)} applies {item.low:g} or {item.high:g}, by the names of the modules"
    if item.outcome is Outcome.WRONG and item.factor is None:
        return f"{_name(item)} would apply it wrongly: {item.reason}"
    return ""


def _name(item: Prediction) -> str:
    return item.loader.title.removesuffix(" (merged)")


def _clearly(item: Prediction) -> bool:
    return item.factor is not None and item.factor > 0


def _worst(wrong: Sequence[Prediction]) -> list[Prediction]:
    return sorted(wrong, key=lambda item: -_distance(item))[:_MOST_WRONG]


def _distance(item: Prediction) -> float:
    factor = item.factor or 1.0
    return max(factor, 1 / factor)


def _strength(item: Prediction) -> str:
    factor = item.factor or 1.0
    much = f"{factor:.3g} times too strong" if factor > 1 else f"at {factor:.3g} of its strength"
    advice = f" (pass `{item.argument}`)" if item.argument else ""
    return f"{_name(item)} would apply it {much}{advice}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
