"""Heads over any embedding: their layers are mixed with scalars that are learned with the task."""

from lowtide.tasks.classifier import Classifier
from lowtide.tasks.columns import ColumnOptions
from lowtide.tasks.loading import load
from lowtide.tasks.matcher import Matcher
from lowtide.tasks.options import (
    ClassifierOptions,
    FineTuning,
    FitOptions,
    LayerOptions,
    MatcherOptions,
    TaggerOptions,
)
from lowtide.tasks.reports import Evaluation
from lowtide.tasks.rows import RowOptions
from lowtide.tasks.tagger import Tagger

__all__ = [
    "Classifier",
    "ClassifierOptions",
    "ColumnOptions",
    "Evaluation",
    "FineTuning",
    "FitOptions",
    "LayerOptions",
    "Matcher",
    "MatcherOptions",
    "RowOptions",
    "Tagger",
    "TaggerOptions",
    "load",
]
