"""Numbers to numbers: knows no text and no files."""

from lowtide.model.bilm import BiLM, BiLMConfig, Carry, States
from lowtide.model.char_cnn import CharCNN, CharCNNConfig, SymbolConfig, SymbolEmbedding
from lowtide.model.layer_mix import LayerMix
from lowtide.model.lstm import LSTMConfig
from lowtide.model.softmax import Candidates, LogUniformSampler, Softmax

__all__ = [
    "BiLM",
    "BiLMConfig",
    "Candidates",
    "Carry",
    "CharCNN",
    "CharCNNConfig",
    "LSTMConfig",
    "LayerMix",
    "LogUniformSampler",
    "Softmax",
    "States",
    "SymbolConfig",
    "SymbolEmbedding",
]
