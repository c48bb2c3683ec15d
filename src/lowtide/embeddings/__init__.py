"""One door, every rung of the ladder behind it."""

from lowtide.embeddings.base import Embedder, Encodes
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.language_model import LanguageModel
from lowtide.embeddings.loading import load
from lowtide.embeddings.one_hot import OneHot
from lowtide.embeddings.word2vec import Word2Vec

__all__ = ["Elmo", "Embedder", "Encodes", "LanguageModel", "OneHot", "Word2Vec", "load"]
