def lora_product(lora_up, lora_down):
    if lora_down.ndim == 4:
        lora_up, lora_down = lora_up.flatten(1), lora_down.flatten(1)
    return lora_up @ lora_down
