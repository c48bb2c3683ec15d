"""Pretraining: raw text in, a model folder out."""

from lowtide.training.budget import Budget
from lowtide.training.forecast import Forecast
from lowtide.training.presets import PRESETS, Preset
from lowtide.training.pretrain import forecast, pretrain
from lowtide.training.settings import Settings

__all__ = ["PRESETS", "Budget", "Forecast", "Preset", "Settings", "forecast", "pretrain"]
