"""torch's compiler, imported when it is used: until then an optimizer does not bring its 3 seconds of imports.

torch's optimizers import ``torch._dynamo`` when they are made and at every step, to tell a compiler what to leave alone
(``torch/_compile.py``, ``torch/optim/optimizer.py``). In a process that compiles nothing that is more than half of what
a short run spends before its first step. :func:`put_off_compiler` lays a stand-in where the import looks. It answers
the optimizers' two calls as the real module does while nothing is compiled, by doing nothing; whatever else anybody
wants of it, ``torch.compile`` say, imports the real module, which takes its place.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


def put_off_compiler() -> None:
    """From here on this process imports torch's compiler at its first use. It imports torch."""
    if COMPILER in sys.modules:
        return
    spec = find_spec(COMPILER)
    if spec is not None:
        sys.modules[COMPILER] = _StandIn(spec)
        sys.meta_path.insert(0, _Submodules())


class _StandIn(ModuleType):
    """``torch._dynamo`` as far as optimizers need it. Without ``__path__``: who asks for that imports a submodule."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(COMPILER)
        self.__spec__, self.__file__, self.__package__ = spec, spec.origin, COMPILER

    def graph_break(self, *_: Any, **__: Any) -> None:
        """Splits a graph while one is traced; there is none."""

    def disable(self, function: Callable[..., Any], *words: Any, **options: Any) -> Callable[..., Any]:
        """``function`` as it is, and out of the compiler's sight from the moment that there is a compiler."""
        hidden: list[Callable[..., Any]] = []

        def call(*args: Any, **keywords: Any) -> Any:
            real = sys.modules.get(COMPILER)
            if real is self or real is None:
                return function(*args, **keywords)
            if not hidden:
                hidden.append(real.disable(function, *words, **options))
            return hidden[0](*args, **keywords)

        return call

    def __getattr__(self, name: str) -> Any:
        return getattr(_real(), name)


class _Submodules(MetaPathFinder):
    """Imports of ``torch._dynamo.utils`` and the like: the real package first, which mostly brings them along."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{COMPILER}."):
            return None
        sys.meta_path.remove(self)
        _real()
        known = sys.modules.get(fullname)
        return None if known is None else ModuleSpec(fullname, _Known(known), origin=known.__file__)


class _Known(Loader):
    """Hands out a module that was imported while its own import was under way."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def _real() -> ModuleType:
    """The module itself, in the stand-in's place."""
    if isinstance(sys.modules.get(COMPILER), _StandIn):
        del sys.modules[COMPILER]
    return importlib.import_module(COMPILER)
