"""A device of its own kind on a machine that has none: `standin`, which computes on the CPU.

Its tensors take no part in an operation with tensors on the CPU, as those of a graphics card: what is left on
the wrong device fails here as it would there. It is torch's `privateuse1`, for backends outside torch.
"""

from __future__ import annotations

from typing import Any

NAME = "standin"
_MAKERS = (
    *("empty.memory_format", "empty_strided", "arange", "arange.start", "arange.start_step", "eye", "eye.m"),
    *("linspace", "logspace", "randperm", "tril_indices", "triu_indices"),
)
"""What makes a tensor of nothing; all others are made of an empty one."""
_MOVES = ("aten::_to_copy", "aten::copy_", "aten::_copy_from", "aten::to")
"""What may have tensors of two devices."""


def register() -> None:
    """Have the device from now on. A process has one such device, so call it once."""
    import torch
    from torch.utils import _pytree as pytree
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as set_up

    set_up(NAME)
    device = torch.device(NAME, 0)

    class StandIn(torch.Tensor):
        """A tensor on the device; `held` is on the CPU."""

        held: torch.Tensor

        @staticmethod
        def __new__(cls: Any, held: torch.Tensor) -> Any:
            made = torch.Tensor._make_wrapper_subclass(
                cls,
                held.size(),
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=device,
            )
            made.held = held
            return made

        @property
        def data(self) -> torch.Tensor:
            return self.detach()

        @data.setter
        def data(self, value: torch.Tensor) -> None:
            if not isinstance(value, StandIn):
                raise NotImplementedError(f"{NAME}: the data of a tensor can't move to {value.device}")
            torch.Tensor.data.__set__(self, value)
            self.held = value.held

        def __tensor_flatten__(self) -> tuple[list[str], None]:  # so that Module.to swaps tensors
            return ["held"], None

        @staticmethod
        def __tensor_unflatten__(inner: dict[str, torch.Tensor], *_: object) -> Any:
            return StandIn(inner["held"])

        @classmethod
        def __torch_dispatch__(
            cls, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            flat = pytree.tree_leaves((args, kwargs))
            own = {id(item.held): item for item in flat if isinstance(item, cls)}
            name = function._schema.name
            if name not in _MOVES:
                for item in flat:
                    if isinstance(item, torch.Tensor) and not isinstance(item, cls) and item.dim():
                        raise RuntimeError(
                            "Expected all tensors to be on the same device, but found at least two devices, "
                            f"{device} and {item.device}! ({name})"
                        )
            leaves = kwargs.get("device") is None or torch.device(kwargs["device"]).type == NAME
            if kwargs.get("device") is not None:
                kwargs["device"] = torch.device("cpu")
            args, kwargs = pytree.tree_map(lambda x: x.held if isinstance(x, cls) else x, (args, kwargs))
            found = function(*args, **kwargs)
            if any(item.size() != item.held.size() for item in own.values()):
                raise NotImplementedError(f"{NAME} can't change the size of a tensor in place ({name})")
            if name == "aten::copy_" and id(args[0]) not in own:
                return found  # to the CPU

            def put(item: Any) -> Any:
                if not isinstance(item, torch.Tensor) or not leaves:
                    return item.clone() if isinstance(item, torch.Tensor) and id(item) in own else item
                return own[id(item)] if id(item) in own else cls(item)

            return pytree.tree_map(put, found)

    library = torch.library.Library("aten", "IMPL")

    def made_by(operation: Any) -> Any:
        def make(*args: Any, **kwargs: Any) -> Any:
            kept = {name: value for name, value in kwargs.items() if name not in ("device", "pin_memory")}
            return StandIn(operation(*args, **kept, device=torch.device("cpu")))

        return make

    for name in _MAKERS:
        packet, _, overload = name.partition(".")
        operation = getattr(getattr(torch.ops.aten, packet), overload or "default")
        library.impl(name, made_by(operation), "PrivateUse1")

    def copy_from(source: Any, target: Any, non_blocking: bool = False) -> Any:
        held = [item.held if isinstance(item, StandIn) else item for item in (source, target)]
        held[1].copy_(held[0])
        return target

    library.impl("_copy_from", copy_from, "PrivateUse1")
    _KEPT.append(library)


_KEPT: list[Any] = []
"""Implementations are forgotten with what registered them."""
