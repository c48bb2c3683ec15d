"""How fast text is embedded, beside the limit of the machine and beside other tools.

    python benchmarks/embedding.py wikitext2.test.txt.xz --rounds 3
    python benchmarks/embedding.py wikitext2.test.txt.xz --rounds 1 --sentences 0     # all of it
    python benchmarks/embedding.py wikitext2.test.txt.xz --peers peers.json

Token lists go in, arrays of all layers come out; the model has the original architecture (93.6 M parameters) with
random weights, in the published layout. Every run begins with nothing cached, and the limit of its dtype
(`common.limit`) is measured before and after it; dtypes and peers take turns, in both orders.

A token costs 151 MFLOP in the LSTMs (the character network runs once a type, and is not counted). lowtide computes
less: the first layer's products of inputs are had once a type. *Useful* is what a token costs by the definition;
*computed* is what was computed, characters included.

PEERS is a JSON file: a list of {"name", "batch", "command"}, commands as lists of words in which {options}, {weights},
{folder}, {sentences} and {batch} are filled in, that print a line of JSON with "wps_median", words a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import limit, lstm_flop, spread, table, type_flop, write_result
from loading import write_original

from lowtide.embeddings import Elmo, type_cache
from lowtide.embeddings.loading import load
from lowtide.model import BiLM
from lowtide.model.packed_lstm import PackedStack
from lowtide.model.products import DTYPES, Dtype
from lowtide.text.lines import read_lines
from lowtide.text.tokenize import Sentence
from lowtide.training.presets import PRESETS, bilm_config
from lowtide.weights.stored import StoredModel

LONGEST = 60
BATCH = 64
IN_BATCHES, ALONE = 256, 20
"""Sentences that peers read in batches, and alone."""


def sentences_of(path: Path) -> Iterator[Sentence]:
    """Sentences of WikiText: its lines without headings, cut behind ``. ? !`` and at `LONGEST` tokens."""
    for line in read_lines(str(path), "utf-8"):
        sentence: Sentence = []
        words = line.text.split()
        for word in [] if words[:1] == ["="] else words:
            sentence.append(word)
            if word in (".", "?", "!") or len(sentence) == LONGEST:
                yield sentence
                sentence = []
        if sentence:
            yield sentence


@dataclass
class Counted:
    """Rows that went through the character network, and through the products of the first layer's inputs."""

    types: int = 0
    gates: int = 0

    def watch(self) -> None:
        """Count from now on, in this process."""
        compute, input_gates = type_cache.TypeCache._computed, PackedStack.input_gates

        def computed(cache: type_cache.TypeCache, types: list[str]) -> torch.Tensor:
            self.types += len(types)
            return compute(cache, types)

        def gates(stack: PackedStack, vectors: torch.Tensor) -> torch.Tensor:
            self.gates += len(vectors)
            return input_gates(stack, vectors)

        type_cache.TypeCache._computed, PackedStack.input_gates = computed, gates  # type: ignore[method-assign,assignment]  # a benchmark looks inside


COUNTED = Counted()


@dataclass
class Run:
    """What was measured of one dtype."""

    rates: list[float] = field(default_factory=list)
    useful: list[float] = field(default_factory=list)
    computed: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    kernel: str = ""
    vectors: list[np.ndarray] = field(default_factory=list)
    """Of the top layer."""


def measure(folder: Path, dtype: Dtype, sentences: list[Sentence], run: Run) -> None:
    """One round of one dtype, from a model that has computed nothing yet."""
    elmo = load(folder, dtype=dtype)
    config = elmo.stored.config.bilm
    list(elmo.embed_layers([[]]))  # packs the weights, as loading is measured elsewhere
    before = max(limit(dtype).values())
    COUNTED.types = COUNTED.gates = 0
    num_tokens = sum(map(len, sentences))
    started = time.perf_counter()
    kept: list[np.ndarray] = []
    for layers in elmo.embed_iter(sentences, layers="all"):
        kept.append(layers[-1].astype(np.float16))
    seconds = time.perf_counter() - started
    best = statistics.mean([before, max(limit(dtype).values())])
    sizes = config.lstm
    of_inputs = 2 * 4 * sizes.cell_width * sizes.width
    cost = lstm_flop(sizes)
    characters = type_flop(config.char_cnn, sizes.width) * COUNTED.types / num_tokens
    computed = cost - 2 * of_inputs + of_inputs * COUNTED.gates / num_tokens + characters
    rate = num_tokens / seconds
    run.rates.append(rate)
    run.limits.append(best)
    run.useful.append(100 * rate * cost / best / 1e9)
    run.computed.append(100 * rate * computed / best / 1e9)
    run.kernel = elmo.engine.settings["kernel"]
    run.vectors = kept
    print(
        f"{dtype}: {rate:,.0f} tokens/s, {run.useful[-1]:.1f} % useful, {run.computed[-1]:.1f} % computed", flush=True
    )


def cosines(run: Run, beside: Run) -> np.ndarray:
    """Of every token's top layer at two dtypes."""
    found = []
    for these, those in zip(run.vectors, beside.vectors, strict=True):
        a, b = these.astype(np.float64), those.astype(np.float64)
        found.append((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
    return np.concatenate(found)


def seconds_alone(elmo: Elmo, sentences: list[Sentence]) -> list[float]:
    """Of every sentence embedded by itself, once all was seen once."""
    for sentence in sentences:
        elmo.embed_layers([sentence])
    found = []
    for sentence in sentences:
        started = time.perf_counter()
        elmo.embed_layers([sentence])
        found.append(time.perf_counter() - started)
    return found


def measure_peer(peer: dict[str, Any], folder: Path, sentences: Path) -> float:
    """Words a second of another tool, in a process of its own."""
    names = {
        "options": folder / "options.json",
        "weights": folder / "weights.hdf5",
        "folder": folder,
        "sentences": sentences,
        "batch": peer["batch"],
    }
    command = [word.format(**names) for word in peer["command"]]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate: float = json.loads(answer.strip().splitlines()[-1])["wps_median"]
    print(f"{peer['name']}, {peer['batch']} at a time: {rate:,.0f} words/s", flush=True)
    return rate


def measure_side_by_side(
    folder: Path, sentences: list[Sentence], peers: list[dict[str, Any]], rounds: int
) -> dict[tuple[str, int], list[float]]:
    """Words a second of lowtide and of peers on the same sentences, in turn; warm, as the peers are."""
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as work:
        files = {}
        for batch, chosen in ((BATCH, sentences[:IN_BATCHES]), (1, sentences[:ALONE])):
            files[batch] = Path(work) / f"{batch}.txt"
            files[batch].write_text("".join(f"{' '.join(s)}\n" for s in chosen), encoding="utf-8")
        for number in range(rounds):
            for peer in peers if number % 2 == 0 else peers[::-1]:
                rate = measure_peer(peer, folder, files[peer["batch"]])
                found.setdefault((peer["name"], peer["batch"]), []).append(rate)
                for dtype in DTYPES:
                    elmo = load(folder, dtype=dtype)
                    if peer["batch"] == 1:
                        alone = sentences[:ALONE]
                        rate = sum(map(len, alone)) / sum(seconds_alone(elmo, alone))
                    else:
                        chosen = sentences[:IN_BATCHES]
                        elmo.embed_layers(chosen[:BATCH])
                        started = time.perf_counter()
                        elmo.embed_layers(chosen)
                        rate = sum(map(len, chosen)) / (time.perf_counter() - started)
                    found.setdefault((f"lowtide, {dtype}", peer["batch"]), []).append(rate)
                    print(f"lowtide, {dtype}, {peer['batch']} at a time: {rate:,.0f} words/s", flush=True)
    return found


def preset_model(folder: Path, preset: str) -> Elmo:
    """A preset with random weights."""
    torch.manual_seed(0)
    original = load(folder).stored
    bilm = BiLM(bilm_config(PRESETS[preset], num_symbols=None, dropout=0.0)).eval()
    config = original.config.__class__(**{**vars(original.config), "bilm": bilm.config})
    return Elmo(StoredModel(folder, "random", config, bilm))


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--sentences", type=int, default=1500, help="so many of the text; 0: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path)
    arguments = parser.parse_args()
    COUNTED.watch()
    sentences = list(sentences_of(arguments.text))[: arguments.sentences or None]
    runs: dict[Dtype, Run] = {dtype: Run() for dtype in DTYPES}
    small_rates, latencies = [], []
    peers = json.loads(arguments.peers.read_text(encoding="utf-8")) if arguments.peers else []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        write_original(folder)
        for number in range(arguments.rounds):
            for dtype in DTYPES if number % 2 == 0 else DTYPES[::-1]:
                measure(folder, dtype, sentences, runs[dtype])
            small = preset_model(folder, "small")
            started = time.perf_counter()
            for _ in small.embed_iter(sentences, layers="all"):
                pass
            small_rates.append(sum(map(len, sentences)) / (time.perf_counter() - started))
            latencies += seconds_alone(small, [s for s in sentences if len(s) == 20][:30])
        beside = measure_side_by_side(folder, sentences, peers, arguments.rounds) if peers else {}
    write_result(
        "embedding",
        f"python benchmarks/embedding.py TEXT --sentences {arguments.sentences} --rounds {arguments.rounds}"
        + (" --peers PEERS" if peers else ""),
        report(sentences, runs, small_rates, latencies, beside),
    )


def report(
    sentences: list[Sentence],
    runs: dict[Dtype, Run],
    small_rates: list[float],
    latencies: list[float],
    beside: dict[tuple[str, int], list[float]],
) -> str:
    """All tables."""
    rows = [
        [
            dtype,
            run.kernel,
            spread(run.rates),
            spread(run.limits),
            spread(run.useful, 1) + " %",
            spread(run.computed, 1) + " %",
            "" if dtype == "float32" else f"{cosines(run, runs['float32']).min():.5f}",
        ]
        for dtype, run in runs.items()
    ]
    header = ["dtype", "kernel", "tokens/s", "limit, GFLOP/s", "useful / limit", "computed / limit", "lowest cosine"]
    num_tokens = sum(map(len, sentences))
    told = [
        f"{len(sentences):,} sentences, {num_tokens:,} tokens, original architecture, all layers, cold cache.",
        table(header, rows),
    ]
    ratios = [small / rate for small, rate in zip(small_rates, runs["float32"].rates, strict=True)]
    told.append(
        f"`small`, float32: {spread(small_rates)} tokens/s, {spread(ratios, 1)} times the original. A sentence of 20 "
        f"tokens alone, warm: {spread([1e3 * seconds for seconds in latencies], 1)} ms."
    )
    if beside:
        told.append(
            table(
                ["tool", "sentences at a time", "words/s"],
                [
                    [name, batch, spread(rates)]
                    for (name, batch), rates in sorted(beside.items(), key=lambda kv: kv[0][1])
                ],
            )
        )
    return "\n\n".join(told)


if __name__ == "__main__":
    main()
