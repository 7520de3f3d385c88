"""Where the packages lie. All else stands in pyproject.toml, which cannot say three roots and a folder beside them."""

from setuptools import find_packages, setup

ROOTS = {"mm3d_core": "packages/core", "mm3d_backbones": "packages/backbones", "mm3d_benchmarks": "packages/benchmarks"}

setup(
    packages=[
        *(name for root in ROOTS.values() for name in find_packages(root)),
        "mm3d_benchmarks.sweeps",  # so that an installed `mm3d sweep` finds the paper's tables without the repository
    ],
    package_dir={
        **{name: f"{root}/{name}" for name, root in ROOTS.items()},
        "mm3d_benchmarks.sweeps": "sweeps",
    },
)
