"""What is decided before a task is learned: how layers enter, the network on top, and how it is fitted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, get_args

from lowtide.errors import ConfigError

Kind = Literal["tagger", "classifier", "matcher"]
"""Of a task."""
KINDS: tuple[Kind, ...] = get_args(Kind)
SchemeChoice = Literal["auto", "none", "IOB1", "IOB2", "BIOES", "BMES", "BILOU"]
Pooling = Literal["mean", "max", "both"]
Objective = Literal["classify", "cosine", "contrastive"]
Reader = Literal["lstm", "none"]
LayerNorm = Literal["none", "token"]
LEARNED, FIXED = "learned", ("top", "average", "sum")
"""What layers may be chosen by, beside their number."""
MOST_WIDE, MOST_LAYERS = 4096, 32
"""The sizes of a head end here: the largest published model has a cell of 4096."""
SMALLEST_BATCH, LARGEST_BATCH, BATCHES_PER_EPOCH = 4, 32, 50
"""Of a fit whose batches nobody chose: 140 sentences of CoNLL-2003, in batches of 4 for 32, are worth 6 points more."""


def _require(is_good: bool, name: str, found: object, expected: str) -> None:
    if not is_good:
        raise ConfigError(f"{name} is {found}, expected {expected}")


def _require_one_of(choices: Any, name: str, found: object) -> None:
    """Refuse what is none of the choices of a Literal."""
    _require(found in get_args(choices), name, repr(found), ", ".join(map(str, get_args(choices))))


def _require_a(kind: type, name: str, found: object) -> None:
    """Refuse what is of another class."""
    _require(isinstance(found, kind), name, type(found).__name__, kind.__name__)


def _require_whole(options: object, name: str, least: int, most: int | None = None) -> None:
    """Refuse what is no whole number, or out of range; one of NumPy becomes one of Python."""
    found = getattr(options, name)
    if not isinstance(found, Integral):
        raise ConfigError(f"{name} is {found!r}, expected a whole number")
    number = int(found)
    object.__setattr__(options, name, number)
    if most is None:
        _require(number >= least, name, number, f"{least} or more")
    else:
        _require(least <= number <= most, name, number, f"{least} to {most:,}")


def _require_numbers(options: object, *names: str) -> None:
    """Refuse what is no number; one of NumPy becomes one of Python."""
    for name in names:
        found = getattr(options, name)
        if not isinstance(found, Real):
            raise ConfigError(f"{name} is {found!r}, expected a number")
        object.__setattr__(options, name, float(found))


@dataclass(frozen=True)
class LayerOptions:
    """How the layers of an embedding become one vector a token: section 3.3 of Peters et al. (2018)."""

    choice: str = LEARNED
    """``learned``: gamma and s of equation 1 are learned with the task. ``top``, ``average``, ``sum`` or the number of
    a layer: nothing is learned."""
    layer_norm: LayerNorm = "none"
    """What is done to every layer first; see `LayerMix`."""
    penalty: float = 0.001
    """Lambda, the weight of ||s||^2 in the loss: the larger, the nearer the mix stays to the plain mean."""
    at_output: bool = False
    """Whether a second mix of the same layers is put beside what the reader says."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: if there is no such choice, or a number is out of range.
        """
        choice = str(self.choice)  # a bare number is meant as one
        object.__setattr__(self, "choice", choice)
        is_known = choice == LEARNED or choice in FIXED or choice.isdecimal()
        _require(is_known, "layers", repr(choice), f"{LEARNED}, {', '.join(FIXED)} or a number")
        _require_one_of(LayerNorm, "layer_norm", self.layer_norm)
        _require_numbers(self, "penalty")
        _require(self.penalty >= 0, "penalty", self.penalty, "0 or more")


@dataclass(frozen=True)
class HeadOptions:
    """The network between the vectors of tokens and an answer; its defaults are those of the paper's tagger."""

    layers: LayerOptions = field(default_factory=LayerOptions)
    reader: Reader = "lstm"
    """A BiLSTM over the vectors, or nothing: then the head is linear."""
    state_width: int = 200
    """Of the BiLSTM, in each direction; of the hidden layer and the projection of a matcher."""
    num_reader_layers: int = 1
    char_filters: int = 0
    """How many filters look at the bytes of every word, three at a time; 0: none (Ma & Hovy 2016 have 30)."""
    dropout: float = 0.5
    """Of what the reader reads, and of what it says: one mask a sentence (Gal & Ghahramani 2016)."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: if there is no such choice, or a number is out of range.
        """
        _require_a(LayerOptions, "layers", self.layers)
        _require_one_of(Reader, "reader", self.reader)
        for name, least, most in (
            ("state_width", 1, MOST_WIDE),
            ("num_reader_layers", 1, MOST_LAYERS),
            ("char_filters", 0, MOST_WIDE),
        ):
            _require_whole(self, name, least, most)
        _require_numbers(self, "dropout")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "0 or more, and less than 1")


@dataclass(frozen=True)
class TaggerOptions(HeadOptions):
    """Of a `Tagger`."""

    char_filters: int = 30
    """As Ma & Hovy (2016)."""
    scheme: SchemeChoice = "auto"
    """In which the tags write spans: ``auto`` finds out; ``none``: they write none, as parts of speech."""
    lenient: bool = False
    """Whether spans that break their scheme are read as conlleval and seqeval read them; else they are refused."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: if there is no such choice, a number is out of range, or spans are to be read of tags that
                write none.
        """
        super().__post_init__()
        _require_one_of(SchemeChoice, "scheme", self.scheme)
        if self.lenient and self.scheme == "none":
            raise ConfigError("lenient says how spans are read, and scheme 'none' that tags write none: leave one out")


@dataclass(frozen=True)
class ClassifierOptions(HeadOptions):
    """Of a `Classifier`."""

    pool: Pooling = "both"
    """One vector a text: the mean of its tokens' vectors, their maximum, or both."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: if there is no such choice, or a number is out of range.
        """
        super().__post_init__()
        _require_one_of(Pooling, "pool", self.pool)


@dataclass(frozen=True)
class MatcherOptions(HeadOptions):
    """Of a `Matcher`."""

    pool: Pooling = "both"
    objective: Objective = "classify"
    """``classify``: a label from [u, v, |u - v|, u * v]. ``cosine``: a score from the cosine of u and v.
    ``contrastive``: two labels, from how far u and v are apart."""
    same_label: str = "1"
    """Of ``contrastive``: the label of texts that belong together."""
    margin: float = 1.0
    """Of ``contrastive``: how far apart others shall be; vectors have length 1."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: if a number is out of range.
        """
        super().__post_init__()
        _require_one_of(Pooling, "pool", self.pool)
        _require_one_of(Objective, "objective", self.objective)
        object.__setattr__(self, "same_label", str(self.same_label))  # a bare number is meant as one
        _require_numbers(self, "margin")
        _require(0 < self.margin <= 2, "margin", self.margin, "more than 0, and at most 2")


@dataclass(frozen=True)
class FineTuning:
    """How embeddings learn with the task: Howard & Ruder (2018), https://arxiv.org/abs/1801.06146, section 3.2."""

    learning_rate: float = 1e-4
    """Of the top layer."""
    decay: float = 2.6
    """Every layer learns so many times slower than the one above it."""
    is_gradual: bool = True
    """Whether the head learns alone for one epoch, and then one layer more joins in every epoch, from the top."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: if a number is out of range.
        """
        _require_numbers(self, "learning_rate", "decay")
        _require(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "more than 0")
        _require(self.decay >= 1, "decay", self.decay, "1 or more")


@dataclass(frozen=True)
class FitOptions:
    """How a head is fitted: Adam (Kingma & Ba 2015), a rate that falls linearly, early stopping."""

    epochs: int = 20
    """At most."""
    patience: int = 10
    """Epochs without a better score on the validation examples, before it stops."""
    batch_size: int | None = None
    """Sentences, or pairs. None: as many as make 50 batches of an epoch, but 4 to 32: few examples want many steps."""
    learning_rate: float = 3e-3
    """At first; a tenth of it at the end of the last epoch."""
    max_gradient_norm: float = 5.0
    seed: int = 0
    """Of the weights at first, of the order of the examples, and of the dropout."""
    fine_tuning: FineTuning | None = None
    """None: embeddings stay as they are, and their states are computed once."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: if a number is out of range.
        """
        if self.fine_tuning is not None:
            _require_a(FineTuning, "fine_tuning", self.fine_tuning)
        _require_whole(self, "seed", 0, 2**32 - 1)
        for name in ("epochs", "patience", *(["batch_size"] if self.batch_size is not None else [])):
            _require_whole(self, name, 1)
        _require_numbers(self, "learning_rate", "max_gradient_norm")
        _require(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "more than 0")
        _require(self.max_gradient_norm > 0, "max_gradient_norm", self.max_gradient_norm, "more than 0")

    def batch_size_of(self, num_examples: int) -> int:
        """How many of so many examples are a batch."""
        return self.batch_size or min(LARGEST_BATCH, max(SMALLEST_BATCH, num_examples // BATCHES_PER_EPOCH))
