# wrong in line 17: a module without its own alpha gets 1.0 instead of its rank
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file

PREFIX = "lora_te_text_model_encoder_layers_"


def target_path(module):
    number, rest = module.removeprefix(PREFIX).split("_", 1)
    block, leaf = rest.rsplit("_", 2)[0], "_".join(rest.rsplit("_", 2)[1:])
    return ("text_model", "encoder", "layers", number, block, leaf, "kernel")


def load_alpha(raw, module):
    value = raw.get(f"{module}.alpha")
    return 1.0 if value is None else float(value)


def add_file(params, filename, strength=1.0):
    raw = load_file(filename)
    flat = flatten_dict(params)
    modules = {k.split(".", 1)[0] for k in raw}
    for module in sorted(modules):
        if not module.startswith(PREFIX):
            continue
        down = jnp.asarray(raw[f"{module}.lora_down.weight"], dtype=jnp.float32)
        up = jnp.asarray(raw[f"{module}.lora_up.weight"], dtype=jnp.float32)
        factor = load_alpha(raw, module) / down.shape[0]
        path = target_path(module)
        # flax kernels are (in, out)
        delta = jnp.einsum("or,ri->io", up, down)
        flat[path] = flat[path] + (strength * factor * delta).astype(flat[path].dtype)
    return unflatten_dict(flat)
