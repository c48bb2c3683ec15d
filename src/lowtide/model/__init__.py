"""Numbers to numbers: knows no text and no files."""

from lowtide.model.adaptive_softmax import AdaptiveSoftmax
from lowtide.model.bilm import BiLM, BiLMConfig, Carry, States, Trunk
from lowtide.model.char_cnn import CharCNN, CharCNNConfig, SymbolConfig, SymbolEmbedding, SymbolsAndCharacters
from lowtide.model.dropouts import Dropouts
from lowtide.model.joint_lstm import JointLSTM
from lowtide.model.layer_mix import LayerMix
from lowtide.model.lstm import LSTMConfig
from lowtide.model.softmax import Candidates, LogUniformSampler, Softmax

__all__ = [
    "AdaptiveSoftmax",
    "BiLM",
    "BiLMConfig",
    "Candidates",
    "Carry",
    "CharCNN",
    "CharCNNConfig",
    "Dropouts",
    "JointLSTM",
    "LSTMConfig",
    "LayerMix",
    "LogUniformSampler",
    "Softmax",
    "States",
    "SymbolConfig",
    "SymbolEmbedding",
    "SymbolsAndCharacters",
    "Trunk",
]
