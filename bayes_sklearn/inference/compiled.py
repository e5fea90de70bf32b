"""Compiled models of this process: one a structure, whatever the data and the numbers in the priors."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

__all__ = ["CompiledModels"]


class CompiledModels:
    """A bounded cache, safe to use from several threads.

    Parameters
    ----------
    size : int
        How many models are kept; the one unused for longest goes first.
    """

    def __init__(self, size: int):
        self.size = size
        self._models: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._compiling = threading.Lock()

    def __len__(self) -> int:
        return len(self._models)

    def get(self, key: Hashable, compile_model: Callable[[], Any]) -> Any:
        """Return the model kept under a key; compile it first where there is none.

        Threads that ask for the same model wait for one compilation; those whose model is there don't wait.
        """
        model = self._found(key)
        if model is None:
            with self._compiling:
                model = self._found(key)
                if model is None:
                    model = compile_model()
                    self._keep(key, model)
        return model

    def _found(self, key: Hashable) -> Any:
        with self._lock:
            if key in self._models:
                self._models.move_to_end(key)
            return self._models.get(key)

    def _keep(self, key: Hashable, model: Any) -> None:
        with self._lock:
            self._models[key] = model
            while len(self._models) > self.size:
                self._models.popitem(last=False)
