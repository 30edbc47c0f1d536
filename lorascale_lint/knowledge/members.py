"""Names of attributes and methods of Python, tensors and modules, by what they do with a value."""

from __future__ import annotations

PLAIN_METHODS = frozenset(
    "replace removesuffix removeprefix split rsplit partition rpartition endswith startswith lower upper "
    "strip lstrip rstrip find rfind index rindex count isdigit isdecimal isnumeric isalpha isalnum "
    "isidentifier islower isupper capitalize title casefold swapcase splitlines".split()
)

TELLS_ARGUMENTS = frozenset({"get_config"})
"""Methods that give the arguments of the constructor, to rebuild a saved model by: keras.layers.Layer."""

NEUTRAL = frozenset(
    "weight data T mT layer module base_layer default _parameters value values proj parameters params kernel "
    "embedding active_adapter active_adapters linear tensor items get array adapter_name "
    "_fast_lora".split()  # unsloth/kernels/utils.py: the factor in the type of the activation
)
"""Attributes of a thing that mean the thing itself."""

OF_WRAPPED_LAYERS = {"base_layer": "base", "bias": None}
"""What a layer of the model has, and a factor only if more than a name such as ``up_proj`` makes it one."""

MODULE_METHODS = frozenset(
    "register_buffer register_parameter add_module register_module named_parameters named_modules "
    "named_children parameters modules children state_dict load_state_dict to cuda cpu half float eval train "
    "param variable make_rng add_weight get_submodule get_parameter requires_grad_ apply buffers "
    "named_buffers zero_grad type setattr".split()
)

AXES_GIVEN = frozenset("dot_general tensordot batch_dot ragged_dot conv_general_dilated".split())
"""Products whose axes are arguments: which operand stands first says nothing of how it lies."""

HELD_BY_LAYERS = frozenset("weight bias in_features out_features".split())
"""Attributes of layers that no list or dictionary of layers has: who asks for one has a layer."""

TENSOR_ATTRIBUTES = frozenset(
    "shape T t mT data weight dtype device ndim grad bias in_features out_features size numel".split()
)

COMMON_METHODS = frozenset(
    "forward update append remove reset_parameters extra_repr state_dict load_state_dict from_pretrained "
    "save_pretrained __call__ __init__ __getitem__ register_hook backward format endswith startswith replace "
    "removesuffix removeprefix add_argument parse_args write_text read_text".split()
)

TEXT_METHODS = frozenset(
    "replace removesuffix removeprefix split rsplit partition rpartition endswith startswith "
    "rstrip lstrip".split()
)

CHANGING_CALLS = frozenset("copy_ setattr exec append update put".split())
"""Calls that change what they are given, beside those whose name ends in an underscore."""

CONTAINER_TYPES = frozenset(
    "dict Dict list List Iterable Sequence Mapping Any str typing t Union Optional None tuple Tuple".split()
)
"""Words of an annotation that say how values are held, not what a value is."""

DELTALESS_BASES = frozenset({"Module", "ABC", "object"})
"""Bases that add nothing to what a layer computes."""

ANY_ATTRIBUTE = frozenset({"__getattr__", "__getattribute__"})
"""Methods by which any attribute of an object may be read."""

READS_UNNAMED = frozenset({"getattr", "vars", "asdict", "__dict__", "locals"})
"""Functions and attributes by which fields and arguments are read whose names are not spelled."""

AROUND_A_BLOCK = {"__enter__": "__exit__", "__aenter__": "__aexit__"}
"""Methods that run before a block of ``with``, and those that run behind it."""

OF_EVERY_OBJECT = frozenset(dir(type("", (), {})))
"""Attributes that each object has, so that none of these methods is asked for them: ``__dict__``."""

EMPTIES = frozenset("zero_ zeros_ fill_ copy_ pop clear delete_adapter".split())
"""Methods after which a factor, or a table of factors, is not what it was."""

ZEROES = frozenset({"zero_", "zeros_"})
"""Those of them after which the product of two factors is nothing: torch.Tensor, torch.nn.init."""

CALLED_BY_FRAMEWORK = ("__call__", "forward", "call", "construct")
"""Methods of a layer that nobody needs to call by name, as they are looked for: torch, keras, mindspore."""

ONLY_FILLS = frozenset("append update setdefault extend".split())
"""Methods of Python's containers that put something in, and change nothing else that the object knows."""
GIVES_FIELD = frozenset("register_buffer register_parameter add_module".split())
"""Methods of torch.nn.Module that give it a field."""
MAKES_CONTAINERS = frozenset("dict list set OrderedDict defaultdict".split())
"""What is called to make a container that holds no other one's entries in common."""

SETS_BY_NAME = frozenset({"setattr", "update", "register_buffer", "fill_", "copy_"})
"""Calls that may set a field which they are given the name of: Python, torch.nn.Module, torch.Tensor."""

CALLED_AGAIN = ("train", "eval")
"""Methods of torch.nn.Module that are called for a mode whether it is the module's already or not."""

MERGED_FIELDS = frozenset({"weight", "bias", "data"})
"""Fields of a layer that a merge changes."""
TAKES_WEIGHTS_ALONE = frozenset(
    "state_dict named_parameters parameters save_pretrained save save_file save_model savez setattr "
    "set_submodule add_module register_module deepcopy".split()
)
"""Calls by which the weights of a model may go on without its layers, or another layer takes their place."""
RUNS_MODEL = frozenset({"generate", "predict", "sample"})
"""Methods that run a model, beside those of a layer."""
KEEPS_LAYERS = frozenset(
    "to cuda cpu half float bfloat16 eval train print len parameters requires_grad_ zero_grad compile".split()
)
"""Calls on a model, or with it, after which it has the same layers: torch.nn.Module, torch, Python."""
TAKES_OUT_OF_THE_GRAPH = frozenset({"detach", "detach_", "stop_gradient"})
"""What is called on numbers that are trained, where they shall not be for once."""

MULTIPLIES_BY_WEIGHT = {
    "torch.nn.functional.linear": 1,
    "torch.nn.functional.conv1d": 1,
    "torch.nn.functional.conv2d": 1,
    "torch.nn.functional.conv3d": 1,
    "torch.nn.functional.embedding": 1,
    "torch.matmul": 1,
}
"""Functions that are given the weight of a layer, and call no layer: which argument it is."""
READS_WEIGHT_OF = {"out_proj": "torch.nn.MultiheadAttention"}
"""Modules of torch that read the weight of a layer in this field, and never call the layer."""
HAVE_WEIGHT = frozenset("Linear Embedding Conv1d Conv2d Conv3d NonDynamicallyQuantizableLinear".split())
"""Layers of torch that multiply by a field ``weight``, by the last part of their name."""
