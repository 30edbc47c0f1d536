def load_lora_weights(layers, state_dict):
    for name, layer in layers.items():
        lora_down = state_dict[f"{name}.lora_down.weight"]
        lora_up = state_dict[f"{name}.lora_up.weight"]
        alpha = state_dict.get(f"{name}.alpha")
        rank = lora_down.shape[0]
        scale = 1.0 if alpha is None else float(alpha) / rank
        layer.set_lora(lora_down, lora_up * scale)


class LoRALinear:
    def __init__(self, base_layer):
        self.base_layer = base_layer
        self.lora_down = None
        self.lora_up = None

    def set_lora(self, lora_down, lora_up):
        self.lora_down = lora_down
        self.lora_up = lora_up

    def merge(self):
        self.base_layer.weight.data += self.lora_up @ self.lora_down
