"""LS204: alpha is truncated to an integer before it becomes a scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.entries import Rounding
from lorascale_lint.ledger.kept_numbers import is_packed, kept_by, named, roles
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.real_numbers import is_declared_whole, why_real
from lorascale_lint.provenance.scale import EXTENT
from lorascale_lint.provenance.values import Number, Value, options
from lorascale_lint.rule import Rule


class TruncatedAlpha(Rule):
    """Alpha truncated to an integer

    ## What it finds

    `int(alpha)` stored as a layer's alpha, or divided by the rank, where the value is declared a float,
    has a float for its default or comes from a tensor, `alpha // rank` used as a scale, and an alpha that is
    stored in a tensor of an integer type. With `--preview` an `int(alpha)` that is packed into a file.

    ## Why it is wrong

    alpha is a real number: with rank 8, `int(2.4) / 8` is 0.25 instead of 0.3, `int(0.5) / 8` is 0,
    and `4 // 8` is 0: the adapter does nothing.

    ## Effect

    1.20x too weak for alpha=2.4; no effect at all for alpha=0.5, or for `4 // 8`.

    ## Bad

    ```python
    class LoRALinear:
        def set_lora_weights(self, A, B, lora_alpha: float | None = None):
            self.lora_A = A
            self.lora_B = B
            self.lora_rank = A.shape[0]
            self.lora_alpha = int(lora_alpha) if lora_alpha is not None else A.shape[0]

        def merge(self):
            self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)
    ```

    ## Good

    ```python
    class LoRALinear:
        def set_lora_weights(self, A, B, lora_alpha: float | None = None):
            self.lora_A = A
            self.lora_B = B
            self.lora_rank = A.shape[0]
            self.lora_alpha = float(lora_alpha) if lora_alpha is not None else A.shape[0]

        def merge(self):
            self.base_layer.weight.data += self.lora_alpha / self.lora_rank * (self.lora_B @ self.lora_A)
    ```

    ## Fix safety

    Safe: an alpha that equals the rank is an integer and stays what it is.

    ## Limits

    `int()` of an alpha that is parsed from text (other than the metadata of an adapter file) or declared
    an integer is left alone, and so is `//` in a function that asserts divisibility with `%` or chooses by
    `is_integer()`.

    ## References

    - FastVideo 0.1.7 to 0.2.1, `layers/lora/linear.py`
    - JamesQFreeman/LoRA-ViT divides with `//`
    """

    code = "LS204"
    name = "truncated-alpha"
    fix = "sometimes"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Truncations of an alpha that is, or may be, no integer."""
        whole = {
            ask.spot.function
            for ask in ledger.asks
            if ask.how in ("Mod", "is_integer", "isinstance") and roles(ask.value) & {ALPHA, RANK}
        }
        for item in ledger.quotients:
            if not item.floor or item.spot.function in whole:
                continue
            if {ALPHA} <= roles(item.value) <= {ALPHA, RANK} and roles(item.by) <= {RANK, EXTENT}:
                from lorascale_lint.codemods.keep_alpha_float import divide_exactly

                yield self.at(
                    item.spot,
                    "alpha is divided by the rank with `//`, which rounds the scale down",
                    effect="no effect at all for alpha < rank; 1.50x too weak for alpha=24, rank=16",
                    trace=[(item.spot, "alpha // rank")],
                    fix=divide_exactly(ledger, item.spot),
                )
        places: dict[object, list[Rounding]] = defaultdict(list)
        for look in (ledger, *(trial.ledger for trial in ledger.trials)):
            for found in look.roundings:
                if found.spot.function in whole or _is_whole(found.value):
                    continue
                if _reaches_a_scale(look, found) or is_packed(look, found):
                    places[found.spot.node].append(found)
        for looks in places.values():
            yield from self._rounding(ledger, looks)

    def _rounding(self, ledger: Ledger, looks: list[Rounding]) -> Iterator[Finding]:
        reasons = [why_real(ledger, look.operand, look.value) for look in looks]
        why = next((reason for reason in reasons if reason is not None), None)
        first, tensor = looks[0], looks[0].how == "tensor"
        packed = not tensor and any(is_packed(ledger, look) for look in looks)
        if why is None and not packed and (not tensor or is_declared_whole(first.operand)):
            return
        from lorascale_lint.codemods.keep_alpha_float import keep_alpha_float

        yield self.at(
            first.spot,
            "alpha is stored in a tensor of an integer type" if tensor else "alpha is truncated by `int()`",
            confidence="medium" if why is None else "high",
            effect="for rank=8: 1.20x too weak for alpha=2.4, no effect at all for alpha=0.5",
            trace=[(first.operand, why or "nothing says that alpha is an integer")],
            fix=None if tensor or packed else keep_alpha_float(ledger, first.spot),
        )


def _is_whole(value: Value) -> bool:
    """Was an alpha that it may be made whole before?"""
    ways = [option.value for option in options(value)]
    return any(isinstance(way, Number) and way.truncated and ALPHA in roles(way) for way in ways)


def _reaches_a_scale(ledger: Ledger, rounding: Rounding) -> bool:
    """Is the whole number kept as an alpha by its statement or later, or divided by a rank?"""
    made = {option.value for option in options(rounding.result)}
    known = {value for value in made if isinstance(value, Number) and value.truncated}
    if any(
        ALPHA in named(store.field) and not known.isdisjoint(option.value for option in options(store.value))
        for store in (ledger.stores if known else ())
    ):
        return True
    return any(ALPHA in names for names in kept_by(ledger, rounding.spot, made)) or any(
        not made.isdisjoint(option.value for option in options(item.value))
        and roles(item.by) & {RANK, EXTENT}
        for item in (ledger.quotients if rounding.how != "tensor" else ())
    )
