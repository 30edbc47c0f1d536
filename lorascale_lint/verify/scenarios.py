"""Everything that is asked of an implementation, without any framework.

Numbers are chosen so that the known mistakes give different answers: alpha is never the rank, the second
adapter has another rank, and strength .5 comes with alpha 6 (with alpha 4, leaving out alpha and leaving out
the strength would both read .5).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from lorascale_lint.verify.layer_scenarios import layer_scenarios
from lorascale_lint.verify.model_scenarios import model_scenarios, switching_scenarios
from lorascale_lint.verify.protocol import Capability, LayerKind, Naming
from lorascale_lint.verify.steps import KeyStyle, Scenario


def scenarios(
    layer_kinds: Sequence[LayerKind],
    capabilities: frozenset[Capability],
    styles: Sequence[KeyStyle] | None = None,
    namings: Collection[Naming] = tuple(Naming),
    *,
    dtype: str = "float32",
) -> list[Scenario]:
    """Everything that is asked, in order. Names are unique.

    `capabilities` decides only how alpha reaches a layer (with the factors where that is possible, else
    through the constructor); scenarios that need a capability which is not there are included and say so in
    `needs`. `styles` are the key styles that the target claims to read, the most usual first (None: it claims
    those with factors A and B); others are shown and never make the run differ. `namings` are those that the
    model's layers have names in. `dtype` is that of the layers.
    """
    found = [
        scenario
        if scenario.layer is None or scenario.layer.dtype != "float32"
        else replace(scenario, layer=replace(scenario.layer, dtype=dtype))
        for scenario in layer_scenarios(layer_kinds, capabilities)
    ]
    if Capability.MODEL_LOAD in capabilities:
        found += model_scenarios(styles, namings)
        usual = KeyStyle.LORA_ALPHA if styles is None else styles[0]
        switches = capabilities & {Capability.MODEL_CACHE, Capability.MODEL_SWITCH}
        needs = frozenset() if switches else frozenset({Capability.MODEL_SWITCH})
        for scenario in switching_scenarios(usual):
            switching = len(scenario.adapters) > 1 and Capability.MODEL_ACCUMULATE not in scenario.needs
            found.append(replace(scenario, needs=scenario.needs | (needs if switching else frozenset())))
    return found
