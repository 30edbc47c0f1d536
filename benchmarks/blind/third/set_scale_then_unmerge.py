# wrong in line 36: unmerge uses the current multiplier, which set_multiplier may have changed since the merge
import torch


class LoRAModule(torch.nn.Module):
    def __init__(self, name, org_module, multiplier=1.0, lora_dim=4, alpha=1):
        super().__init__()
        self.lora_name = name
        self.lora_down = torch.nn.Linear(org_module.in_features, lora_dim, bias=False)
        self.lora_up = torch.nn.Linear(lora_dim, org_module.out_features, bias=False)
        torch.nn.init.zeros_(self.lora_up.weight)
        self.scale = alpha / lora_dim
        self.multiplier = multiplier
        self.org_module_ref = [org_module]
        self.is_merged = False

    def set_multiplier(self, multiplier):
        self.multiplier = multiplier

    def get_weight(self):
        return self.lora_up.weight @ self.lora_down.weight * self.scale

    @torch.no_grad()
    def merge(self):
        if self.is_merged:
            return
        org = self.org_module_ref[0]
        org.weight += self.get_weight() * self.multiplier
        self.is_merged = True

    @torch.no_grad()
    def restore(self):
        if not self.is_merged:
            return
        org = self.org_module_ref[0]
        org.weight -= self.get_weight() * self.multiplier
        self.is_merged = False


class LoRANetwork:
    def __init__(self, modules):
        self.modules = list(modules)

    def set_multiplier(self, multiplier):
        for m in self.modules:
            m.set_multiplier(multiplier)

    def pre_generation(self):
        for m in self.modules:
            m.merge()

    def restore_weights(self):
        for m in self.modules:
            m.restore()
