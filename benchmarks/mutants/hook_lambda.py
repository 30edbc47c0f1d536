def attach_lora(module, lora_A, lora_B, rank, alpha):
    module.register_forward_hook(
        lambda mod, inputs, output: output + (inputs[0] @ lora_A.T @ lora_B.T) * (alpha / rank)
    )
