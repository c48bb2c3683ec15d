"""The training loop: both directions at once, one step after another, always resumable."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from lowtide.embeddings.encoder import Encoder
from lowtide.embeddings.language_model import LanguageModel, Perplexity, unigram_perplexity
from lowtide.errors import DivergenceError, InputError, ModelError, TrainingError, is_out_of_memory
from lowtide.memory import FreeMemory
from lowtide.model import Carry, LogUniformSampler
from lowtide.progress import progress
from lowtide.text.batches import Document, TrainingBatch
from lowtide.text.tokenize import open_tokenizer
from lowtide.training.averaging import TailAverage
from lowtide.training.beginning import begin, tie
from lowtide.training.checkpoint import (
    CHECKPOINT,
    CheckpointClock,
    Position,
    carry_tensors,
    load_checkpoint,
    parts_of,
    restore_carry,
    save_checkpoint,
)
from lowtide.training.interrupts import interrupts_deferred
from lowtide.training.log import LogWriter, Watcher, appending, cut_off
from lowtide.training.optimisation import (
    clip_gradients,
    make_optimizers,
    optimizer_tensors,
    restore_optimizers,
    set_rate,
)
from lowtide.training.ranks import ALONE, Ranks
from lowtide.training.settings import Settings
from lowtide.training.together import carry_of_all, carry_of_own, learn_together
from lowtide.training.training_text import TrainingText, batches_of
from lowtide.weights.native import TABLE, load_tensors, save_tensors
from lowtide.weights.stored import spelling_for

log = logging.getLogger("lowtide")

LOGS_PER_VALIDATION = 5
"""Lines of the log that tell the loss, for each that tells the held-out perplexity."""
_BEST_MODEL, _BEST_SOFTMAX = "best-model.safetensors", "best-softmax.safetensors"
_TIED_TO = ("softmax.weight", f"bilm.{TABLE}")
"""The two names of one tensor."""


class Trainer:
    """A training in progress.

    Args:
        settings: what decides how it goes.
        text: ready to train on; its held-out part chooses the best state.
        work: a folder for checkpoints.
        log_path: the log, one JSON object a line.
        ranks: the processes that train together; the first one alone validates and writes.

    Raises:
        InputError: if there are more processes than rows, or a process has no GPU of its own.
    """

    def __init__(
        self, settings: Settings, text: TrainingText, *, work: Path, log_path: Path, ranks: Ranks = ALONE
    ) -> None:
        if settings.rows < ranks.size:
            raise InputError(
                f"found {ranks.size} processes for the {settings.rows} rows of a batch: start at most {settings.rows}, "
                "or take a larger preset"
            )
        self.settings, self.ranks = settings, ranks
        self.vocabulary = text.vocabulary
        self._valid = text.valid if ranks.is_first else []
        self._tokenizer = open_tokenizer(text.counts.tokenizer)
        self._work, self._log_path = work, log_path
        self._device = ranks.device(settings.device)
        spelling = spelling_for(
            self.vocabulary, settings.bilm.char_cnn, more=text.more_words, folds_case=text.folds_case
        )
        self._batches = batches_of(settings, text, row_length=spelling.row_length)
        self._networks = begin(settings, text)
        self.bilm, self.softmax = self._networks.bilm, self._networks.softmax
        for network in self._networks.by_name.values():
            network.to(self._device)
        self._encoder = Encoder(self.bilm, spelling)
        self._sampler = (
            None if settings.num_samples is None else LogUniformSampler(len(self.vocabulary), settings.num_samples)
        )
        self._optimizers = make_optimizers(
            self._networks,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        learns = {name: tensor for name, tensor in self._named_tensors().items() if tensor.requires_grad}
        # where nothing is held out, nobody looks at it
        self._average = TailAverage(learns) if settings.averaged and self.has_valid else None
        self.position = Position()
        self._carry: Carry | None = None
        """The states of its own rows at the end of the last batch, if the next one goes on there."""

    # -- steps ---------------------------------------------------------------------------------

    def step(self, batch: TrainingBatch) -> float:
        """Learn from one batch.

        Returns:
            Nats a target, the mean of both directions; of the sampled loss, where there is one.

        Raises:
            TrainingError: if the loss is no number any more, or memory is missing.
        """
        settings, position = self.settings, self.position
        self.bilm.train()
        set_rate(self._optimizers, settings.rate_at(position.tokens))
        try:
            nats = self._learn(batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"out of memory at step {position.step + 1}, in a batch of {batch.num_tokens:,} tokens over "
                f"{settings.vocabulary_size:,} types: take a smaller preset, fewer types (max_types), or a sampled or "
                "adaptive softmax"
            ) from error
        norm = clip_gradients(self._networks.parameters(), settings.max_gradient_norm)
        if not (math.isfinite(nats) and math.isfinite(norm)):
            name, value = ("gradient", norm) if math.isfinite(nats) else ("loss", nats)
            raise self._diverged(name, value)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self._average is not None and position.tokens >= settings.averaged_from:
            self._average.add()
        return nats

    def _learn(self, batch: TrainingBatch) -> float:
        """Leave the gradients of a batch in the parameters; returns its mean nats."""
        # what is drawn depends on the step alone, so that a resumed run draws the same
        settings, candidates = self.settings, None
        if self._sampler is not None:
            candidates = self._sampler.candidates([settings.seed, self.position.step], device=self._device)
        learnt = learn_together(
            self.ranks,
            self._networks,
            batch,
            candidates=candidates,
            carry=self._carry if batch.goes_on else None,
            seed=settings.seed * 1_000_003 + self.position.step,
        )
        self._carry = None if batch.backward is None else learnt.carry
        return learnt.nats

    def _diverged(self, name: str, value: float) -> DivergenceError:
        return DivergenceError(
            f"the {name} became {value} at step {self.position.step + 1}, after {self.position.tokens:,} tokens. "
            f"The learning rate is probably too high for this text: go on from the last checkpoint with "
            f"--resume --learning-rate {self.settings.learning_rate / 2:g}"
        )

    # -- the loop ------------------------------------------------------------------------------

    def batches(self) -> Iterator[tuple[Position, TrainingBatch]]:
        """What is still to be read, each with the position after it."""
        position = self.position
        epoch, chunk, skip = position.epoch, position.chunk, position.batch
        while True:
            for number, batch in enumerate(self._batches.chunk(epoch, chunk)):
                if number >= skip:
                    yield (
                        dataclasses.replace(self.position, epoch=epoch, chunk=chunk, batch=number + 1),
                        batch,
                    )
            skip, chunk = 0, chunk + 1
            if chunk == self._batches.num_chunks:
                epoch, chunk = epoch + 1, 0

    def train(self, watcher: Watcher | None = None) -> None:
        """Go on until the budget is spent; checkpoints on the way.

        Args:
            watcher: is told every line of the log, too.

        Raises:
            TrainingError: as `step`.
            KeyboardInterrupt: after a step and a checkpoint, if a process was asked to stop.
        """
        settings = self.settings
        every = settings.budget_tokens / settings.num_validations
        started = time.monotonic() - self.position.seconds
        clock = CheckpointClock()
        free_memory = FreeMemory()
        with (
            appending(self._log_path, watcher) as log_file,
            progress("training", total=settings.budget_tokens, unit="tokens") as bar,
            interrupts_deferred() as interrupted,
        ):
            bar.advance(self.position.tokens)  # what an earlier run has read
            if self.position.log_bytes == 0:
                self._look_at_held_out(log_file, started)
                self.save()
            for after, batch in self.batches():
                if self.position.tokens >= settings.budget_tokens:
                    break
                nats = self.step(batch)
                before = self.position
                self._advance(after, batch, nats, seconds=time.monotonic() - started)
                bar.advance(batch.num_tokens, note=f"loss {nats:.3f}")
                is_last = self.position.tokens >= settings.budget_tokens
                if is_last or _crosses(before.tokens, self.position.tokens, every / LOGS_PER_VALIDATION):
                    self._log_loss(log_file, rate=settings.rate_at(before.tokens))
                if is_last or _crosses(before.tokens, self.position.tokens, every):
                    self._look_at_held_out(log_file, started)
                if is_last and self._average is not None and self._average.count:
                    with self._average.in_place():
                        self._look_at_held_out(log_file, started, is_averaged=True)
                free_memory.give_back()
                is_due = is_last or (self.ranks.is_first and clock.is_due)
                stops, saves = self.ranks.total(interrupted(), interrupted() or is_due)
                if saves:
                    with clock.writing():
                        self.save()
                if stops:
                    raise KeyboardInterrupt

    def _advance(self, after: Position, batch: TrainingBatch, nats: float, *, seconds: float) -> None:
        """Count a batch: ``after`` knows where in the text it ended."""
        before = self.position
        self.position = dataclasses.replace(
            after,
            step=before.step + 1,
            tokens=before.tokens + batch.num_tokens,
            num_cut=before.num_cut + batch.num_cut,
            loss_sum=before.loss_sum + nats,
            loss_steps=before.loss_steps + 1,
            num_averaged=0 if self._average is None else self._average.count,
            seconds=seconds,
        )

    @property
    def has_valid(self) -> bool:
        """Whether this process has any text that is held out."""
        return bool(self._valid)

    def validate(self) -> Perplexity:
        """The perplexity of the held-out text, as it is looked at during training."""
        return self.perplexity(self._valid)

    def _look_at_held_out(self, log_file: LogWriter, started: float, *, is_averaged: bool = False) -> None:
        if not self.has_valid:
            return
        perplexity = self.validate()
        if not math.isfinite(perplexity.mean):
            raise self._diverged("held-out perplexity", perplexity.mean)
        best = self.position.best_perplexity
        is_best = best is None or perplexity.mean < best
        if is_best:
            self._save_best()
            self.position = dataclasses.replace(
                self.position, best_perplexity=perplexity.mean, best_step=self.position.step
            )
        self.position = dataclasses.replace(self.position, seconds=time.monotonic() - started)
        values: dict[str, float] = {"valid_forward": perplexity.forward, "valid_backward": perplexity.backward}
        if self.position.step == 0:
            values["valid_unigram"] = unigram_perplexity(self.vocabulary, self._valid)
        self._log(log_file, **values, is_best=is_best, is_averaged=is_averaged)
        log.info(
            "%5.1f %%  %s tokens  held-out perplexity %.1f forward, %.1f backward; the mean of the last states"
            if is_averaged
            else "%5.1f %%  %s tokens  held-out perplexity %.1f forward, %.1f backward",
            100 * min(self.position.tokens / self.settings.budget_tokens, 1.0),
            f"{self.position.tokens:,}",
            perplexity.forward,
            perplexity.backward,
        )

    def perplexity(self, documents: Sequence[Document]) -> Perplexity:
        """The full-softmax perplexity of the state as it is now."""
        self.bilm.eval()
        model = LanguageModel(self._encoder, self.softmax, self.vocabulary, self._tokenizer)
        return model.perplexity_of(documents)

    def _log_loss(self, log_file: LogWriter, *, rate: float) -> None:
        self._log(log_file, loss=self.position.loss_sum / self.position.loss_steps, rate=rate)
        self.position = dataclasses.replace(self.position, loss_sum=0.0, loss_steps=0)

    def _log(self, log_file: LogWriter, **values: float) -> None:
        if not self.ranks.is_first:
            return
        now = self.position
        epoch = now.tokens / self.settings.num_train_tokens
        log_bytes = log_file.write(values, step=now.step, tokens=now.tokens, epoch=epoch, seconds=now.seconds)
        self.position = dataclasses.replace(now, log_bytes=log_bytes)

    # -- checkpoints ---------------------------------------------------------------------------

    @property
    def _checkpoint(self) -> Path:
        return self._work / CHECKPOINT

    def _save_best(self) -> None:
        save_tensors(self._work / _BEST_MODEL, self.bilm.state_dict())
        save_tensors(self._work / _BEST_SOFTMAX, self.softmax.state_dict())

    def restore_best(self) -> None:
        """Take back the state that predicted the held-out text best."""
        if self.position.best_perplexity is not None:
            load_tensors(self._work / _BEST_MODEL, self.bilm)
            load_tensors(self._work / _BEST_SOFTMAX, self.softmax)
            tie(self.settings, self._networks)
            self.bilm.to(self._device)
            self.softmax.to(self._device)

    def _named_tensors(self) -> dict[str, Tensor]:
        """All that learns, each tensor once: ``bilm.forward_lstm.layers.0.bias``, ..."""
        tensors = {
            f"{name}.{key}": tensor
            for name, network in self._networks.by_name.items()
            for key, tensor in network.state_dict(keep_vars=True).items()
        }
        if self.settings.is_tied:
            del tensors[_TIED_TO[0]]  # no file holds one tensor under two names
        return tensors

    def save(self) -> None:
        """Lay the training down; the states of all rows, so that any number of processes can go on."""
        carry = carry_of_all(self.ranks, self._carry)
        if not self.ranks.is_first:
            return
        tensors = self._named_tensors()
        if self._average is not None:
            tensors |= {f"average.{name}": t for name, t in self._average.tensors().items()}
        tensors |= {f"optimizer.{name}": t for name, t in optimizer_tensors(self._optimizers).items()}
        tensors |= {f"carry.{name}": t for name, t in carry_tensors(carry).items()}
        save_checkpoint(self._checkpoint, self.position, tensors)

    def resume(self) -> bool:
        """Go back to the last checkpoint, if there is one; cuts off what the log has beyond it.

        Raises:
            ModelError: if it is damaged, or of another training.
        """
        if not self.ranks.share(self._checkpoint.is_file()):
            if self.ranks.is_first:
                self._log_path.unlink(missing_ok=True)  # written before the first checkpoint was whole
            return False
        position, tensors = load_checkpoint(self._checkpoint, Position)
        if self.settings.is_tied:
            tensors[_TIED_TO[0]] = tensors[_TIED_TO[1]]
        parts = parts_of(tensors)
        try:
            for name, network in self._networks.by_name.items():
                network.load_state_dict(parts[name])
        except RuntimeError:
            raise ModelError(f"{self._checkpoint} does not fit config.json: are they from the same training?") from None
        restore_optimizers(self._optimizers, parts["optimizer"])
        self._carry = carry_of_own(self.ranks, restore_carry(parts["carry"], self._device))
        if self._average is not None:
            self._average.restore(parts["average"], position.num_averaged)
        if self.ranks.is_first:
            cut_off(self._log_path, position.log_bytes)
        self.position = position
        return True


def _crosses(before: int, after: int, every: float) -> bool:
    return int(before / every) != int(after / every)
