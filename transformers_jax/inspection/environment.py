"""Versions, devices and folders: what a bug report should contain."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

PACKAGES = """jax jaxlib flax optax orbax-checkpoint numpy ml_dtypes safetensors tokenizers
    huggingface_hub einops jaxtyping rich tyro grain tensorflow-datasets tensorboardX matplotlib
    jax-cuda12-plugin jax-cuda13-plugin libtpu""".split()
PREFIXES = ("JAX_", "XLA_", "HF_", "TRANSFORMERS_", "CUDA_VISIBLE", "LIBTPU_", "OMP_NUM")
SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD", "PROXY")


def environment() -> dict[str, dict[str, str]]:
    """{section: {name: value}}. Starts JAX's backend, to name the devices; shows no secrets."""
    return {
        "system": system(),
        "packages": packages(),
        "devices": devices(),
        "folders": folders(),
        "variables": variables(),
    }


def system() -> dict[str, str]:
    """The machine and the interpreter."""
    facts = {
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "processors": str(os.cpu_count()),
    }
    if hasattr(os, "sched_getaffinity"):
        facts["processors"] += f", {len(os.sched_getaffinity(0))} of them ours"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        facts["memory"] = f"{size / 2**30:.1f} GiB"
    return facts


def packages() -> dict[str, str]:
    """Versions as installed; nothing is imported."""
    import transformers_jax

    folder = Path(transformers_jax.__file__).parent
    versions = {"transformers_jax": f"{transformers_jax.__version__} ({folder})"}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def devices() -> dict[str, str]:
    """What JAX computes on."""
    import jax

    try:
        devices_here = jax.devices()
    except RuntimeError as error:  # a GPU plugin without a GPU, for example
        return {"backend": f"does not start: {str(error).splitlines()[0]}"}
    kinds = {f"{device.platform} {device.device_kind}" for device in devices_here}
    return {
        "backend": jax.default_backend(),
        "devices": f"{len(devices_here)} ({', '.join(sorted(kinds))})",
        "processes": str(jax.process_count()),
    }


def folders() -> dict[str, str]:
    """Where models and data are cached between runs."""
    from huggingface_hub import constants

    own = os.environ.get("TRANSFORMERS_JAX_CACHE", "~/.cache/transformers_jax")
    return {
        "hub cache": str(constants.HF_HUB_CACHE),
        "own cache": str(Path(own).expanduser()),
        "working directory": str(Path.cwd()),
    }


def variables() -> dict[str, str]:
    """Environment variables that change what is computed or where; secrets are not shown."""
    return {
        name: "(set)" if any(word in name for word in SECRET) else value
        for name, value in sorted(os.environ.items())
        if name.startswith(PREFIXES)
    }
