"""Pretraining: raw text in, a model folder out."""

from lowtide.training.budget import Budget
from lowtide.training.forecast import Forecast
from lowtide.training.planning import TrainOptions
from lowtide.training.pretrain import forecast, pretrain
from lowtide.training.reading import TextOptions

__all__ = ["Budget", "Forecast", "TextOptions", "TrainOptions", "forecast", "pretrain"]
