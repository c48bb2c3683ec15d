"""Vector files: one writer and one reader a format, all with the same verbs."""

from lowtide.embeddings.outputs.base import EmbeddedSentence, VectorReader, VectorWriter
from lowtide.embeddings.outputs.formats import check_output, open_output
from lowtide.embeddings.outputs.reading import Embeddings, Floats, open_embeddings

__all__ = [
    "EmbeddedSentence",
    "Embeddings",
    "Floats",
    "VectorReader",
    "VectorWriter",
    "check_output",
    "open_embeddings",
    "open_output",
]
