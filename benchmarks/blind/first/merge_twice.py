# wrong in line 14: merged by hand, then merge_and_unload merges again
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM


def export(base_id, adapter, out):
    base = AutoModelForCausalLM.from_pretrained(base_id)
    model = PeftModel.from_pretrained(base, adapter)
    for module in model.modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            delta = module.lora_B["default"].weight @ module.lora_A["default"].weight
            module.base_layer.weight.data += module.scaling["default"] * delta
    merged = model.merge_and_unload()
    merged.save_pretrained(out)
