# wrong in line 8: the strength overwrites scaling
from peft import PeftModel


def set_strength(model: PeftModel, strength, adapter="default"):
    for module in model.modules():
        if hasattr(module, "scaling") and adapter in getattr(module, "scaling"):
            module.scaling[adapter] = strength
