"""How fast a training reads, and what share of this machine's matrix products that is.

    python benchmarks/pretraining.py TEXT --presets tiny small --rounds 5
    python benchmarks/pretraining.py TEXT --presets small --threads 2 --peers peers.json
    python benchmarks/pretraining.py TEXT --presets small --threads 2 --inputs words --softmaxes sampled adaptive full

Every preset trains on the same text with one thread and with all. The runs are taken in turn, some
seconds each, with the limit measured anew in every round; what counts is the ratio within a round.
The limit is the best product of any installed library in the dtype of the run (`common.limit`), with as many threads
as the run had. Beside it other tools that train the same sizes, each in a process of its own, in turn with ours; a file
of JSON names them: ``[{"name": "a tool 1.0", "command": ["python", "its_harness.py", "{text}", "{work}"]}]``, and the
last line that a command prints is JSON with ``wps_median``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import LIMIT_ROWS, LIMIT_SHAPE, command_line, limit, lstm_flop, spread, table, type_flop, write_result

from lowtide.model import BiLM
from lowtide.text.batches import TrainingBatch
from lowtide.text.vocabulary import Vocabulary
from lowtide.training.planning import TrainOptions, settle
from lowtide.training.reading import TextOptions, read_text
from lowtide.training.settings import Settings
from lowtide.training.trainer import Trainer
from lowtide.training.training_text import TrainingText

SECONDS = 6.0


def logits_per_target(settings: Settings, vocabulary: Vocabulary) -> float:
    """As many as the softmax computes for a target while it is trained; an adaptive one, on average."""
    if not settings.cutoffs:
        return settings.num_samples or len(vocabulary)
    shares = vocabulary.counts / vocabulary.counts.sum()
    clusters = itertools.pairwise([*settings.cutoffs, len(vocabulary)])
    rare = sum(float(shares[first:end].sum()) * (end - first) for first, end in clusters)
    return settings.cutoffs[0] + len(settings.cutoffs) + rare


def flop_per_token(settings: Settings, types_per_token: float, num_logits: float) -> float:
    """Floating-point operations of one token forward, from the sizes; training takes three times as many.

    Products only: both directions of the LSTM, the softmax as it is trained, and the character
    network as often as a new type comes in a batch.
    """
    softmax = 4 * num_logits * settings.bilm.lstm.state_width
    characters = type_flop(settings.bilm.char_cnn, settings.bilm.lstm.width)
    return lstm_flop(settings.bilm.lstm) + softmax + types_per_token * characters


class Run:
    """A training that goes on for some seconds at a time."""

    def __init__(self, text: TrainingText, preset: str, options: TrainOptions, work: Path) -> None:
        self.settings = settle(text, options, preset)
        self._num_logits = logits_per_target(self.settings, text.vocabulary)
        self._trainer = Trainer(self.settings, text, work=work, log_path=work / "log")
        self._batches = self._trainer.batches()
        self.types = self.tokens = 0
        self.rates: list[float] = []
        self.shares: list[float] = []

    @property
    def num_parameters(self) -> int:
        """Of the biLM."""
        bilm: BiLM = self._trainer.bilm
        return sum(parameter.numel() for parameter in bilm.parameters())

    @property
    def types_per_token(self) -> float:
        """How many new types a token brings, in a batch."""
        return self.types / self.tokens

    @property
    def flop(self) -> float:
        """Of a token that is learnt from."""
        return 3 * flop_per_token(self.settings, self.types_per_token, self._num_logits)

    def _step(self) -> TrainingBatch:
        after, batch = next(self._batches)
        self._trainer.step(batch)
        before = self._trainer.position
        self._trainer.position = replace(after, step=before.step + 1, tokens=before.tokens + batch.num_tokens)
        return batch

    def go_on(self) -> None:
        """Train for some seconds, and measure the limit before and after."""
        with self.settings.threads():
            best = max(limit(self.settings.dtype, seconds=0.2).values())
            self._step()
            tokens, started = 0, time.perf_counter()
            while time.perf_counter() - started < SECONDS:
                batch = self._step()
                tokens += batch.num_tokens
                self.types += len(batch.batch.type_char_ids)
            rate = tokens / (time.perf_counter() - started)
            best = statistics.mean([best, max(limit(self.settings.dtype, seconds=0.2).values())])
        self.tokens += tokens
        self.rates.append(rate)
        self.shares.append(self.flop * rate / (best * 1e9))


def rate_of(peer: dict[str, Any], text: Path, work: Path) -> float:
    """Words a second of another tool."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    command = [word.format(text=text, work=work) for word in peer["command"]]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate: float = json.loads(answer.strip().splitlines()[-1])["wps_median"]
    print(f"{peer['name']}: {rate:,.0f} words/s", flush=True)
    return rate


def runs_of(arguments: argparse.Namespace, work: Path) -> list[Run]:
    """One for every combination of what is named."""
    texts = [
        read_text([arguments.text], TextOptions(tokenizer="whitespace", lines="sentence", inputs=inputs), work / inputs)
        for inputs in arguments.inputs
    ]
    threads = arguments.threads or sorted({1, torch.get_num_threads()})
    named = (arguments.presets, arguments.trunks, arguments.softmaxes, arguments.dtypes, threads)
    runs = []
    for text, preset, trunk, softmax, dtype, number in itertools.product(texts, *named):
        name = None if softmax == "auto" else softmax
        options = TrainOptions(preset=preset, trunk=trunk, softmax=name, dtype=dtype, threads=number)
        runs.append(Run(text, preset, options, work))
    return runs


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--presets", nargs="+", default=["tiny", "small"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", help="1 and all, unless they are given")
    parser.add_argument("--inputs", nargs="+", default=["auto"], choices=("auto", "characters", "words"))
    parser.add_argument("--trunks", nargs="+", default=["elmo"], choices=("elmo", "lstm"))
    parser.add_argument("--softmaxes", nargs="+", default=["auto"], choices=("auto", "full", "sampled", "adaptive"))
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=("float32", "bfloat16"))
    parser.add_argument("--peers", type=Path)
    arguments = parser.parse_args()
    all_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        runs = runs_of(arguments, work)
        peers = json.loads(arguments.peers.read_text(encoding="utf-8")) if arguments.peers else []
        beside: dict[str, list[float]] = {peer["name"]: [] for peer in peers}
        for _ in range(arguments.rounds):
            for run in runs:
                run.go_on()
            for peer in peers:
                beside[peer["name"]].append(rate_of(peer, arguments.text, work / "peer"))
        rows = [
            [
                run.settings.preset,
                "words" if run.settings.bilm.char_cnn is None else "characters",
                run.settings.trunk,
                run.settings.softmax,
                run.settings.dtype,
                f"{run.num_parameters / 1e6:.1f} M",
                run.settings.num_threads,
                f"{run.types_per_token:.3f}",
                f"{run.flop / 1e6:.1f}",
                spread(run.rates),
                spread([100 * share for share in run.shares], 1) + " %",
            ]
            for run in runs
        ]
        vocabulary = runs[0].settings.vocabulary_size
    ours = statistics.median(runs[-1].rates)
    body_of_peers = table(
        ["tool", "words a second", f"{runs[-1].settings.preset} here / it"],
        [[name, spread(rates), f"{ours / statistics.median(rates):.1f}"] for name, rates in beside.items()],
    )
    limits = ", ".join(f"{name} {rate:.0f}" for name, rate in limit().items())
    header = [
        *("preset", "inputs", "trunk", "softmax", "dtype", "parameters", "threads", "types a token"),
        *("MFLOP a token", "tokens a second", "measured / limit"),
    ]
    depth, width = LIMIT_SHAPE
    body = table(header, rows) + (
        f"\n\nMedian and range of {arguments.rounds} rounds of {SECONDS:.0f} s, taken in turn. "
        f"Vocabulary: {vocabulary:,} types. The limit is the best of ({'/'.join(map(str, LIMIT_ROWS))} x {depth}) "
        f"times ({depth} x {width}) in the dtype of the run, measured before and after every turn; "
        f"at the end, in float32, with {all_threads} threads, in GFLOP/s: {limits}."
    )
    command = command_line("pretraining.py TEXT", parser, arguments, "text peers")
    if peers:
        command, body = f"{command} --peers PEERS", f"{body}\n\n{body_of_peers}"
    write_result("pretraining", command, body)


if __name__ == "__main__":
    main()
