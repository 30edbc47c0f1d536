"""What an operation of torch, numpy, mlx, jax, keras or Python does to a value, by its name.

The same names mean the same in these libraries (``matmul`` of torch, mlx and jax), so an entry is found by
the last part of a dotted name. Source: the public documentation of each library; ``tests/test_operations.py``
runs those of torch and numpy.
"""

from __future__ import annotations


def _table(effect: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), effect)


_SVDS = "svd svd_lowrank pca_lowrank randomized_svd svds"

OPERATIONS: dict[str, str] = {
    # the same value: another type, device, shape or copy
    **_table(
        "keep",
        "to cuda cpu float half bfloat16 double type type_as astype contiguous clone detach "
        "requires_grad_ view reshape unsqueeze squeeze flatten expand expand_as view_as reshape_as "
        "repeat tile broadcast_to numpy tensor as_tensor asarray array asanyarray Parameter Variable "
        "from_numpy Buffer full_tensor redistribute wait cast dequantize stop_gradient to_dense "
        "to_local from_local distribute_tensor resolve_conj unflatten ravel slice narrow chunk split "
        "select gather index_select take_along_axis pin_memory share_memory_ copy deepcopy eval train "
        "requires_grad unwrap unbox as_subclass __deepcopy__ item tolist dropout dropout_ "
        "convert_to_tensor device_put block_until_ready unbind pad constant_pad nan_to_num clip clamp "
        "ascontiguousarray squeeze_ unsqueeze_ contiguous_ __pos__ real detach_ "
        "promote_types from_dlpack roll flip index where_ narrow_copy zero_pad atleast_2d atleast_3d "
        "expand_dims float32 float16 get value with_sharding_constraint with_logical_constraint "
        "all_gather all_reduce all_gather_into_tensor reduce_scatter tensor_model_parallel_all_gather "
        "tensor_model_parallel_all_reduce mark_sharding repeat_interleave alias float64 _to_copy "
        "diag diag_embed normal_init materialize dequantize_4bit dequantize_bnb_weight cast_to_device "
        "cast_to cast_bias_weight lift compile jit vmap pmap remat filter_jit filter_vmap shard_map fp32 "
        "moveaxis_ swap_ take "
        "int8 int16 int32 int64 uint8 uint16 uint32 uint64 long short IntTensor LongTensor ShortTensor",
    ),
    **_table(
        "transpose",
        "t T mT transpose swapaxes swapdims permute adjoint H matrix_transpose moveaxis t_ transpose_",
    ),
    **_table(
        "product",
        "matmul mm bmm dot inner linear conv1d conv2d conv3d conv_transpose2d conv_general_dilated "
        "conv_with_general_padding dot_general batch_matmul batch_dot multi_dot chain_matmul mv "
        "tensordot gather_mm grouped_mm _grouped_mm gmm ragged_dot scaled_dot quantized_matmul "
        "op",  # LyCORIS lycoris/modules/base.py: self.op is F.linear or F.conv2d
    ),
    **_table("embedding", "embedding take_rows"),
    **_table("einsum", "einsum contract"),
    **_table("outer", "kron outer"),
    **_table("multiply", "mul multiply mul_ multiply_ imul"),
    **_table("divide", "div divide true_divide div_ divide_ true_div"),
    **_table("add", "add add_ iadd sum_to assign_add"),
    **_table("subtract", "sub subtract sub_ isub assign_sub"),
    **_table("addmm", "addmm addmm_ addmv addmv_ baddbmm baddbmm_ addbmm addbmm_ sparse_addmm"),
    **_table("addcmul", "addcmul addcmul_"),
    **_table("lerp", "lerp lerp_"),
    **_table("negative", "neg negative neg_"),
    **_table("power", "pow power pow_ float_power"),
    **_table("sqrt", "sqrt sqrt_"),
    **_table("index_add", "index_add index_add_ scatter_add scatter_add_"),
    **_table("rsqrt", "rsqrt rsqrt_"),
    **_table("reciprocal", "reciprocal reciprocal_"),
    **_table("norm", "norm linalg_norm vector_norm weight_norm l2_norm"),
    **_table("statistic", "mean std var median average"),
    **_table("normalize", "normalize l2_normalize"),
    **_table("gate", "sigmoid softmax log_sigmoid"),
    **_table("largest", "topk top_k"),
    **_table("run", "checkpoint call_jax"),  # torch.utils.checkpoint runs a function, jax.checkpoint wraps it
    **_table(
        "bend", "relu relu_ relu6 leaky_relu gelu silu swish elu selu celu mish hardswish softplus tanh"
    ),
    **_table("zeros", "zeros zeros_like new_zeros zeros_"),
    **_table(
        "fresh",
        "ones ones_like randn rand empty empty_like randn_like rand_like normal uniform full "
        "full_like eye new_empty new_ones new_full truncated_normal get_parameter create_parameter "
        "add_weight param random_normal he_normal glorot_uniform arange",
    ),
    **_table("decompose", f"{_SVDS} svdvals eigh"),
    **_table("stack", "stack cat concat concatenate hstack vstack block_diag"),
    **_table("sum", "sum fsum reduce_sum"),
    **_table("copy_into", "copy_ set_ assign load_state assign_add_ set_data"),
    **_table(
        "fill",
        "zero_ fill_ kaiming_uniform_ kaiming_normal_ xavier_uniform_ xavier_normal_ normal_ uniform_ "
        "trunc_normal_ zeros_ ones_ constant_ orthogonal_ eye_ dirac_ reset_parameters",
    ),
    **_table("number", "float int round abs fabs"),
    **_table("mask", "rand_mask bernoulli dropout_mask ones_mask"),
    **_table(
        "nothing",
        "print warning info debug error warn log append_ register_forward_hook "
        "register_load_state_dict_post_hook empty_cache synchronize",
    ),
}
"""Effect by the last part of a name."""

_IN_PLACE = frozenset("assign_add assign_sub iadd isub imul".split())
"""Methods that change their receiver: tensorflow's and keras' variables, tinygrad, operator.iadd."""


def changes_receiver(name: str) -> bool:
    """Does a method put its result into what it is called on? A trailing underscore says so in torch."""
    return name in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))


ZEROS = frozenset({"zeros", "zeros_init", "zeros_initializer"})
"""Start values of 0, by the last part of their name: keras.initializers, jax.nn.initializers."""

CONCATENATES = frozenset("cat concat concatenate".split())
"""Operations that put tensors side by side along the axis that they are given, else the first."""

JOINS: dict[str, frozenset[int]] = {
    "vstack": frozenset([0]), "hstack": frozenset([1]), "block_diag": frozenset([0, 1]),
}  # fmt: skip
"""Operations that put matrices side by side, with the axes along which they do."""

PARTS = frozenset("U S V Vh".split())
"""Fields of what decompositions of torch and numpy give."""

DECOMPOSITIONS = frozenset(_SVDS.split())
"""Operations that give factors of a matrix, from which another number of them can be taken."""

WHOLE_TYPES = frozenset("int int8 int16 int32 int64 uint8 uint16 uint32 uint64 long short".split())
"""Types of whole numbers, as torch, numpy, mlx and jax call them."""

WHOLE = WHOLE_TYPES | {"round", "IntTensor", "LongTensor", "ShortTensor"}
"""Operations that make a whole number, or a tensor of a type of such."""

TYPED = frozenset("tensor as_tensor asarray array full to type astype".split())
"""Operations that are given the type of their result, as ``dtype`` or last."""

LINEAR_MODULES: dict[str, tuple[int, int]] = {
    # where (extent in, extent out) stand among the arguments
    **dict.fromkeys(
        (
            "Linear Dense DenseGeneral ColumnParallelLinear RowParallelLinear ReplicatedLinear Linear8bitLt "
            "Linear4bit QuantizedLinear LinearLayer NonDynamicallyQuantizableLinear TELinear "
            "TEColumnParallelLinear TERowParallelLinear LinearNoBias FastLinear ops_Linear Conv1d "
            "Conv2d Conv3d Embedding"
        ).split(),
        (0, 1),
    ),
}
"""Modules that hold one weight of shape (out, in)."""

PASSING_MODULES = frozenset(
    "Dropout Dropout1d Dropout2d Identity AlphaDropout FeatureAlphaDropout Cast Lambda".split()
)
"""Modules whose output is their input, as far as scales go."""

MINDSPORE = {
    "MatMul": "matmul", "BatchMatMul": "bmm", "Mul": "mul", "Add": "add", "Sub": "sub", "Cast": "cast",
}  # fmt: skip
"""Operations that are objects: the primitives of mindspore.ops."""

REMEMBERS = frozenset({"add", "append"})
REMEMBERS_UNDER = frozenset({"put", "set", "setdefault"})
"""Methods by which containers, caches and queues take something in; the second kind under a key."""
LOOK_UPS = frozenset({"get"})
"""Operations that look something up where they are given a key: ``ray.get(job)``, ``CACHE.get(key)``."""

FUNCTION_MODULES = {
    "Sigmoid": "sigmoid", "Softmax": "softmax", "ReLU": "relu", "ReLU6": "relu6", "LeakyReLU": "leaky_relu",
    "GELU": "gelu", "QuickGELU": "gelu", "SiLU": "silu", "ELU": "elu", "SELU": "selu", "CELU": "celu",
    "Mish": "mish", "Hardswish": "hardswish", "Softplus": "softplus", "Tanh": "tanh",
}  # fmt: skip
"""Modules that do what an operation of the table does."""

INITIALISERS = (
    "reset_parameters reset_lora_parameters init_weights init_parameters pissa_init olora_init "
    "corda_init loftq_init lora_ga_init orthogonal_init eva_init initialize_parameters "
    "init_lora_parameters svd_init _init_weights"
).split()
"""Methods that give factors start values: what they divide by is what training then multiplies back."""

KEEPERS = frozenset("append extend insert add appendleft put".split())
"""Methods of containers that keep what they are given."""

VIEWS = frozenset("data detach requires_grad_ view".split())
"""Attributes and methods of torch's tensors that give the same memory again."""

MOVES = {"to": "cpu", "cpu": ""}
"""Methods that give the tensor itself if it is on the CPU: with which first argument."""

COPY_ARGUMENT = "copy"
"""The argument of `torch.Tensor.to` that makes a copy in any case."""

OF_TWO = frozenset("add subtract multiply divide".split())
"""Effects of operations that take two operands."""

SURE = frozenset("add subtract multiply divide addmm transpose product copy_into keep".split())
"""Effects that no method but a tensor's has under these names."""
PADS = frozenset({"pad", "constant_pad", "zero_pad", "constant_pad_nd"})
"""Operations after which a factor has more rows than its rank: torch.nn.functional, numpy, jax.numpy, mlx."""
KEEP_VALUES = frozenset(
    "diag diagflat diag_embed unsqueeze to float half contiguous clone view reshape".split()
)
"""Operations that put singular values on a diagonal, or keep them as they are: torch, numpy, jax, mlx."""

COUNTS_EXTENTS = (".dim()", ".ndim", "len(")
"""Words of a condition that asks how many extents a tensor has: torch, numpy."""
