"""Where code shows that the adapter which it handles states an alpha."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import OPENS_SETTINGS, PEFT_NAMES
from lorascale_lint.knowledge.roles import ALPHA, SCALING, key_role, role_of
from lorascale_lint.ledger.fates import Fate
from lorascale_lint.ledger.key_words import texts_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Ref, Tensor, Text, options


@immutable(frozen=True, slots=True)
class Stated:
    """The place that shows it, in words, and whether there is an alpha for each module."""

    spot: Spot
    text: str
    per_module: bool


def stated_alpha(ledger: Ledger, fate: Fate, others: Collection[Fate]) -> Stated | None:
    """The best evidence for an alpha of the file, in the trial or in those of its callers."""
    function = fate.trial.function
    around = [
        other for other in others if other is not fate and function is not None and function in other.ran
    ]
    return next((found for one in (fate, *around) for found in _evidence(ledger, one)), None)


def _evidence(ledger: Ledger, fate: Fate) -> Iterator[Stated]:
    trial = fate.trial
    for read in fate.ledger.reads:
        own = isinstance(read.container, Text) or read.container == trial.given
        if own and read.how in ("in", "del") and key_role_of(read.key) == ALPHA:
            shown = read.key.literal if isinstance(read.key, Text) else None
            yield Stated(read.spot, f"`{shown or 'alpha'}` keys are known here, and skipped", True)
    texts = list(texts_of(fate))
    for spot, text in texts:
        if text.startswith(".") and key_role(text) == ALPHA:
            yield Stated(spot, f"`{text}` keys are known here, and skipped", True)
    if trial.sample.states_alpha:
        yield Stated(
            trial.spot, f"`{trial.sample.pair.down}` is a name of files with an alpha per module", True
        )
    yield from _at_hand(ledger, fate)
    for spot, text in texts:
        if text in ("base_model.", *PEFT_NAMES) or any(name in text for name in PEFT_NAMES):
            yield Stated(spot, f"`{text}` belongs to PEFT, which states `lora_alpha` in its settings", False)
    yield from _scaled_layer(ledger, fate)
    for use in fate.ledger.uses:
        if any(use.name.endswith(name) for name in OPENS_SETTINGS):
            yield Stated(
                use.spot, "the adapter's settings, which state alpha, are read beside its tensors", False
            )


def _at_hand(ledger: Ledger, fate: Fate) -> Iterator[Stated]:
    """Alphas that the functions are given or read from settings, and do nothing with."""
    for unused in ledger.unused:
        if unused.role == ALPHA and unused.spot.function in fate.ran:
            yield Stated(unused.spot, f"`{unused.parameter}` is given here, and not used", False)
    for function in fate.ran:
        for node in ast.walk(function.node) if function is not None else ():
            if isinstance(node, ast.Attribute) and role_of(node.attr, True) == ALPHA and function is not None:
                spot = Spot(function.file, function, function.owner, node)
                yield Stated(spot, f"`{node.attr}` is at hand here, and not used", False)
    for read in fate.ledger.reads:
        field = read.key.literal or "" if isinstance(read.key, Text) else ""
        if field.isidentifier() and key_role_of(read.key) == ALPHA and read.container != fate.trial.given:
            yield Stated(read.spot, f"`{field}` is read here, and not used", False)


def _scaled_layer(ledger: Ledger, fate: Fate) -> Iterator[Stated]:
    """Where every layer of the project whose fields the keys name scales its delta."""
    names = {
        part.removesuffix(".weight").rpartition(".")[2]
        for part in (fate.trial.sample.pair.down, fate.trial.sample.pair.up)
    }
    fields: dict[ClassInfo, set[str]] = defaultdict(set)
    for store in ledger.stores:
        if isinstance(store.owner, Ref) and store.owner.cls is not None and store.field in names:
            fields[store.owner.cls].add(store.field)
    applied: dict[ClassInfo | None, list[tuple[Spot, Scale]]] = defaultdict(list)
    for apply in ledger.applies:
        applied[apply.spot.cls].append((apply.spot, apply.scale))
    for given in ledger.returns:
        for option in options(given.value):
            if isinstance(option.value, Tensor) and option.value.kind == "delta":
                applied[given.spot.cls].append((given.spot, option.value.scale))
    layers = [cls for cls, own in fields.items() if own == names]
    scaled = [a[0] for cls in layers if (a := applied[cls]) and all(_is_trained(scale) for _, scale in a)]
    if layers and len(scaled) == len(layers):
        text = f"`{layers[0].qualname}` keeps factors under these names, and scales their delta here"
        yield Stated(scaled[0][0], text, False)


def _is_trained(scale: Scale) -> bool:
    return any(symbol.role in (ALPHA, SCALING) for symbol, _ in scale.powers)
