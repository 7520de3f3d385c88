"""GPU kernels in Triton, one idea a file; imported when the first CUDA tensor arrives, never before.

Every kernel has a plain-torch definition beside its operation, which stays the fallback. Indices depend on distances
computed without fused multiply-add (``enable_fp_fusion=False``), so they equal those of the CPU.
"""
