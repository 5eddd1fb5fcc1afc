"""Let Keras load a Perceiver from its files after a plain ``import perceiver_edge``.

Keras knows a class only once the module that registers it was imported; importing ours brings TensorFlow, which
``import perceiver_edge`` never does. So registration waits until the program imports Keras by itself.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def register_with_keras() -> None:
    """Register now where Keras is imported already, else right after it is."""
    if "keras" in sys.modules:
        _register()
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())


def _register() -> None:
    try:
        if sys.modules["keras"].backend.backend() == "tensorflow":
            importlib.import_module("perceiver_edge.model")
    except Exception:
        return  # half a Keras, or no TensorFlow for it: not for an import to complain of


class _KerasFinder(MetaPathFinder):
    """Finds Keras as everybody else does, and has its loader call `_register` afterwards."""

    _is_asking_others = False

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "keras" or self._is_asking_others:
            return None
        self._is_asking_others = True
        try:
            spec = find_spec("keras")
        finally:
            self._is_asking_others = False
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenRegister(spec.loader, self)
        return spec


class _ThenRegister(Loader):
    def __init__(self, loader: Loader, finder: _KerasFinder) -> None:
        self._loader, self._finder = loader, finder

    def __getattr__(self, name: str) -> Any:  # whatever else a loader of files can do, such as finding resources
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        self._loader.exec_module(module)
        _register()
