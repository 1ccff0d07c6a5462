"""A GPU that computes shapes alone: what a process would have to wait for is an error.

`FakeTensorMode` makes it; in that, to read a value is an error by itself.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class NothingWaits(TorchDispatchMode):
    """Copies between CPU and GPU that the process waits for are errors."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and not kwargs.get("non_blocking"):
            target = kwargs.get("device") or args[0].device
            assert target.type == args[0].device.type, f"waits for a copy from {args[0].device} to {target}"
        return func(*args, **kwargs)
