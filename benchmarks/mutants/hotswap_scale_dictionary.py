class LoRASwitch:
    def __init__(self, base_layer):
        self.base_layer = base_layer
        self.lora_A = {}
        self.lora_B = {}
        self.scales = {}

    def add(self, name, lora_A, lora_B, lora_alpha):
        self.lora_A[name] = lora_A
        self.lora_B[name] = lora_B
        self.scales[name] = lora_alpha / lora_A.shape[0]

    def forward(self, x, name):
        return self.base_layer(x) + (x @ self.lora_A[name].T @ self.lora_B[name].T) * self.scales[name]

    def merge(self, name):
        self.base_layer.weight.data += (self.lora_B[name] @ self.lora_A[name]) * self.scales[name]
