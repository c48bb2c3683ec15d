"""One door, every rung of the ladder behind it."""

from lowtide.embeddings.base import Embedder, Encodes
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.language_model import LanguageModel
from lowtide.embeddings.loading import load

__all__ = ["Elmo", "Embedder", "Encodes", "LanguageModel", "load"]
