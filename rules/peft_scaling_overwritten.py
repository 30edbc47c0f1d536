"""LS502: a strength is written over the scaling of a PEFT layer, which holds alpha / rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.findings import Confidence, Finding
from lorascale_lint.knowledge.roles import ALPHA, BASE, RANK, SCALING, STRENGTH, STRENGTHS
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol
from lorascale_lint.ledger.scaling_tables import PeftTables, scales_of, table_writes
from lorascale_lint.provenance.values import Place, Value, options
from lorascale_lint.rule import Rule


class PeftScalingOverwritten(Rule):
    """Strength written over a PEFT layer's scaling

    ## What it finds

    An assignment to `layer.scaling[adapter]` of a PEFT LoRA layer whose value is a bare strength: a
    parameter or variable called so, or a literal other than 0.

    ## Why it is wrong

    `scaling[adapter]` is no strength. It holds `lora_alpha / r` (or its rsLoRA form) times the strength,
    and the forward and the merge multiply by nothing else. Whoever writes the strength there takes
    the trained scale away.

    ## Effect

    Effective scale 1 instead of alpha / r at strength 1: 2.00x too weak for alpha=2 * r.

    ## Bad

    ```python
    from peft.tuners.lora import LoraLayer


    def set_strength(model, adapter, strength):
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                layer.scaling[adapter] = strength
    ```

    ## Good

    ```python
    from peft.tuners.lora import LoraLayer


    def set_strength(model, adapter, strength):
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                layer.set_scale(adapter, strength)
    ```

    ## Fix safety

    No fix: `set_scale(adapter, strength)` multiplies the strength by alpha / r, and takes the place of
    an assignment one by one; what else the program keeps in `scaling` must change with it.

    ## Limits

    Silent where the function multiplies or divides a scaling (it folds it, or scales what is there),
    and where any caller gives a quotient, an alpha or a stored scaling. 0 switches an adapter off.
    Values called `scale` or `weight`, which may hold the whole product, are of medium confidence, and
    so are literals where the function does not read the entries that it overwrites, and layers that are
    known by the tables `lora_A` and `lora_B` beside the scaling alone.

    ## References

    - PEFT `LoraLayer.set_scale` and `scale_layer`
    - daydreamlive/scope `peft_lora.py`, Yuanshi9815/OminiControl `specify_lora`, nunchaku's demos
    """

    code = "LS502"
    name = "peft-scaling-overwritten"
    severity = "warning"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        """Writes of a bare strength into a PEFT layer's table of scalings, whoever calls the function."""
        places: dict[object, list[KeyWrite]] = defaultdict(list)
        for write, _ in table_writes(ledger):
            places[write.spot.file.filename, write.spot.span].append(write)
        tables = PeftTables(ledger) if places else None
        for looks in places.values():
            write = looks[0]
            if tables is None or tables.rescales(write):
                continue
            known = tables.has(write)
            if not known and not tables.resembles(write):
                continue
            given = [option.value for look in looks for option in options(look.value)]
            bare = next((value for value in given if _confidence(value) is not None), None)
            if bare is None or any(_is_trained(value) for value in given):
                continue
            constant = any(scale.constant is not None for scale in scales_of(bare))
            # Whoever puts away what is there knows that it is no constant.
            sure = _confidence(bare) == "high" or (constant and tables.reads(write))
            yield self._report(write, bare, "high" if sure and known else "medium")

    def _report(self, write: KeyWrite, value: Value, confidence: Confidence) -> Finding:
        text = _text(value)
        return self.at(
            write.spot,
            f"the `scaling` of a PEFT layer, which holds alpha / rank, is overwritten with `{text}`",
            confidence=confidence,
            effect=f"effective scale {text} instead of alpha / rank * {text}",
            trace=[
                (write.spot, "PEFT multiplies the delta by this entry and nothing else"),
                (write.spot, f"`{text}` has no part of alpha or the rank"),
            ],
        )


def _confidence(value: Value) -> Confidence | None:
    """How sure it is that a value is a bare strength; None if it may be something else, or is 0."""
    if isinstance(value, Place) and value.role == BASE:
        return "medium"  # a weight of the adapter
    for scale in scales_of(value):
        if scale.constant is not None:
            return "medium" if scale.constant else None
        symbol = only_symbol(scale)
        if symbol is not None and symbol.role in STRENGTHS:
            return "high" if symbol.role == STRENGTH else "medium"
    return None


def _is_trained(value: Value) -> bool:
    return any(s.role in (ALPHA, RANK, SCALING) for scale in scales_of(value) for s, _ in scale.powers)


def _text(value: Value) -> str:
    if isinstance(value, Place):
        return value.path
    scale = scales_of(value)[0]
    return f"{float(scale.constant):g}" if scale.constant is not None else scale.powers[0][0].origin
