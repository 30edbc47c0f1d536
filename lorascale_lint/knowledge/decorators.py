"""Decorators: those that only say how a function is found, and those of libraries that give it back."""

from __future__ import annotations

PROPERTIES = frozenset("property cached_property functional_property lazyproperty abstractproperty".split())
"""What is so decorated is called when it is read."""
BINDING = PROPERTIES | frozenset(
    "staticmethod classmethod abstractmethod setter getter deleter overload override final".split()
)
"""Python's own (`functools`, `abc`, `typing`), by name: whoever looks a name up does what they ask."""

PASSING = frozenset(
    # functools, contextlib: a call gives what the function gives
    "wraps lru_cache cache singledispatch singledispatchmethod contextmanager asynccontextmanager "
    # torch: gradients, compilation, precision; custom_op and the like call the function on plain tensors
    "no_grad enable_grad inference_mode compile script script_method export ignore unused disable "
    "allow_in_graph custom_fwd custom_bwd autocast custom_op impl once_differentiable compileable "
    "maybe_allow_in_graph substitute_in_graph "
    # triton, numba, jax, flax, tensorflow, mindspore, mlx: compiled, differentiated otherwise, else the same
    "jit njit autotune heuristics custom_vjp custom_jvp custom_gradient checkpoint remat compact nowrap "
    "function cell "
    # checks of types and shapes: jaxtyping, beartype, typeguard, pydantic, huggingface_hub
    "typechecked jaxtyped beartype validate_call validate_hf_hub_args "
    # documentation and warnings: transformers, diffusers, keras, typing_extensions
    "add_start_docstrings add_start_docstrings_to_model_forward add_end_docstrings auto_docstring "
    "add_code_sample_docstrings replace_return_docstrings deprecated deprecate deprecate_kwarg "
    "deprecate_kwargs keras_export torch_export".split()
)
"""Last parts of the names of decorators that leave what a function gives as it is."""


def gives_back(name: str) -> bool:
    """Does the decorator of a library called ``name`` leave what a function gives as it is?

    A registry keeps the function and gives it back (`register_to_config`, `register_module`).
    """
    last = name.rpartition(".")[2]
    return last in PASSING or last in BINDING or last.startswith("register")
