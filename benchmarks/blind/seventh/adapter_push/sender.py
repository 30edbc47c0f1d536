"""Ships adapter updates from the learner to inference replicas."""
import torch


def flatten(model):
    """The scaling goes into lora_B, hence the config says alpha == r."""
    tensors, rank = {}, None
    for name, module in model.named_modules():
        if not hasattr(module, "lora_B"):
            continue
        rank = module.lora_A.weight.shape[0]
        tensors[f"{name}.lora_A.weight"] = module.lora_A.weight.detach().clone()
        tensors[f"{name}.lora_B.weight"] = module.lora_B.weight.detach() * module.scaling
    return {"tensors": tensors, "config": {"r": rank, "lora_alpha": rank}}


class Learner:
    def __init__(self, model, replicas):
        self.model = model
        self.replicas = replicas

    def sync(self):
        update = flatten(self.model)
        return [replica.load(update) for replica in self.replicas]
