"""What to do about a run that the device's memory was too small for."""

from __future__ import annotations

from mm3d_benchmarks.store.spec import RunSpec

_ALLOCATORS = ("CUDA out of memory", "DefaultCPUAllocator: can't allocate", "not enough memory: you tried to allocate")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, of a device or of this machine; asked by name, since torch may not be there."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(text in str(error) for text in _ALLOCATORS))
    )


def out_of_memory(spec: RunSpec) -> str:
    """The message for a run that ended so: what holds less, by the name of its key."""
    recipe = (spec.config.get("recipe") or {}).get(spec.kind) or {}
    batch, now = recipe.get("batch"), recipe.get("accumulation", 1)
    if spec.kind == "evaluate" or not isinstance(batch, int) or not isinstance(now, int):
        return "out of memory; lower evaluation.protocol.max_points, or use a device with more"
    section = f"recipe.{spec.kind}"
    finer = next((n for n in range(now + 1, batch + 1) if batch % n == 0), None)
    if finer is None:
        size = "num_points" if recipe.get("num_points") else "max_points"
        return f"out of memory with single scenes; lower {section}.{size}, or use a device with more"
    return (
        f"out of memory with {batch // now} scenes at a time; {section}.accumulation={finer} holds {batch // finer}. "
        f"`mm3d info kind={spec.kind} ... --memory GIGABYTES` estimates which value fits"
    )
