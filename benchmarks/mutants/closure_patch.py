def patch_linear(module, lora_down, lora_up, alpha=None):
    rank = lora_down.shape[0]
    if alpha is None:
        alpha = rank
    scale = alpha / rank
    original_forward = module.forward

    def forward_with_lora(x):
        lora_out = (x @ lora_down.T) @ lora_up.T
        return original_forward(x) + lora_out * scale

    module.forward = forward_with_lora
    return module
