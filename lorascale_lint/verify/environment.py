"""The environment variables of a child."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from pathlib import Path

from lorascale_lint.verify.order import Order

_KEPT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "SYSTEMROOT",
)


def environment_of(home: Path, order: Order) -> dict[str, str]:
    """A small environment of the child's own: no network, no other device, nothing written outside `home`."""
    kept = (*_KEPT, "CUDA_VISIBLE_DEVICES") if order.on_card else _KEPT
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HF_HOME": str(home / "cache"),
        "TORCH_HOME": str(home / "cache"),
        # The user's own site-packages are found through the home folder, which has just been moved.
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONWARNINGS": "ignore",
        # Must be set before torch is imported: compiling takes 18 s and a C++ compiler, and changes no
        # number.
        "TORCHDYNAMO_DISABLE": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    if order.compiled:
        del environment["TORCHDYNAMO_DISABLE"]
        # Otherwise it starts a process for each core.
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    if order.ranks > 1:
        # torchrun starts its processes without -P.
        environment["PYTHONSAFEPATH"] = "1"
    if not order.on_card:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if sys.platform == "linux":
        # gloo otherwise looks up this machine's name, which may not resolve.
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    own = Path(__file__).resolve().parents[2]
    if own not in {Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "platlib")}:
        environment["PYTHONPATH"] = str(own)
    return environment
