"""lowtide: ELMo, maintained. Train bidirectional language models on plain text; a vector for every token.

Importing this is cheap: each name below is fetched when it is first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from lowtide.errors import LowtideError

if TYPE_CHECKING:
    from lowtide.embeddings.elmo import Elmo as Elmo
    from lowtide.embeddings.loading import load as load
    from lowtide.embeddings.loading import models as models
    from lowtide.embeddings.one_hot import OneHot as OneHot
    from lowtide.embeddings.outputs import open_embeddings as open_embeddings
    from lowtide.embeddings.word2vec import Word2Vec as Word2Vec
    from lowtide.model.layer_mix import LayerMix as LayerMix
    from lowtide.training.pretrain import pretrain as pretrain

# PyTorch asks the system for large pages, if it is told so before its first tensor: fresh memory in small ones costs as
# much time as the arithmetic that fills it. Linux only; whoever has set it otherwise keeps it so.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
__all__ = [
    "Elmo",
    "LayerMix",
    "LowtideError",
    "OneHot",
    "Word2Vec",
    "__version__",
    "load",
    "models",
    "open_embeddings",
    "pretrain",
]

_HOMES = {
    "Elmo": "lowtide.embeddings.elmo",
    "LayerMix": "lowtide.model.layer_mix",
    "OneHot": "lowtide.embeddings.one_hot",
    "Word2Vec": "lowtide.embeddings.word2vec",
    "load": "lowtide.embeddings.loading",
    "models": "lowtide.embeddings.loading",
    "open_embeddings": "lowtide.embeddings.outputs",
    "pretrain": "lowtide.training.pretrain",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lowtide' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
