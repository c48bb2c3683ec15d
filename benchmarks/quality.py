"""How well a training of some minutes predicts WikiText-2, beside models that count.

    python benchmarks/quality.py FOLDER --minutes 30 60 --out RUNS

FOLDER holds ``wikitext2.{train,valid,test}.txt.xz``: tokens between spaces, ``<unk>`` its own. A
run that is found whole in RUNS is only measured again, and one that was stopped goes on.

    python benchmarks/quality.py FOLDER --minutes 20 --trunks elmo lstm --learning-rates 4e-3 8e-3 --splits valid ...

compares trunks at equal time, each at several rates: choose on ``valid``, and report the best on ``test``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from common import command_line, table, write_result
from ngrams import KneserNey, unigram_perplexity

import lowtide
from lowtide.embeddings.elmo import Elmo
from lowtide.evaluation.perplexity import measure_perplexity
from lowtide.tasks.seeds import Spread
from lowtide.text.corpus import Corpus
from lowtide.training.settings import TrainableTrunk

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Run:
    """One training."""

    preset: str
    minutes: int
    seed: int
    trunk: TrainableTrunk = "elmo"
    learning_rate: float | None = None
    """None: that of the preset."""

    def __str__(self) -> str:
        """The name of its folder."""
        rate = "" if self.learning_rate is None else f"-{self.learning_rate:g}"
        trunk = "" if self.trunk == "elmo" else f"-{self.trunk}"
        return f"{self.preset}{trunk}{rate}-{self.minutes}m-{self.seed}"


def sentences(path: Path) -> Iterator[list[str]]:
    """Tokens, line by line; blank lines passed over."""
    for raw in Corpus([path], lines="sentence").sentences():
        yield raw.text.split()


def trained(folder: Path, runs: Path, run: Run) -> tuple[Elmo, float]:
    """The model of a run, and its minutes of wall time (that of all parts, if it was stopped)."""
    out = runs / str(run)
    clock = out.with_name(out.name + ".minutes")
    if not (out / "model.safetensors").is_file():
        before = json.loads(clock.read_text(encoding="utf-8")) if clock.is_file() else 0.0
        started = time.monotonic()
        try:
            lowtide.pretrain(
                [folder / "wikitext2.train.txt.xz"],
                out=out,
                preset=run.preset,
                trunk=run.trunk,
                learning_rate=run.learning_rate,
                tokenizer="whitespace",
                lines="sentence",
                valid=folder / "wikitext2.valid.txt.xz",
                min_count=1,
                time=f"{run.minutes}m",
                seed=run.seed,
                resume=True,
            )
        finally:
            clock.write_text(json.dumps(before + (time.monotonic() - started) / 60), encoding="utf-8")
    return Elmo.open(out, device="cpu"), json.loads(clock.read_text(encoding="utf-8"))


def counted(folder: Path, splits: list[str]) -> list[list[object]]:
    """The rows of models that count."""
    paths = {split: folder / f"wikitext2.{split}.txt.xz" for split in ("train", *splits)}
    kneser_ney = KneserNey(sentences(paths["train"]))
    rows: list[list[object]] = []
    for split in splits:
        unigram = unigram_perplexity(sentences(paths["train"]), sentences(paths[split]))
        rows.append([split, "unigram", "", "", "", "", "", "", f"{unigram:.1f}"])
        trigram = kneser_ney.perplexity(sentences(paths[split]))
        rows.append([split, "Kneser-Ney trigram", "", "", "", "", "", "", f"{trigram:.1f}"])
    return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=int, nargs="+", default=[30, 60])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--out", type=Path, required=True, help="where the models go")
    parser.add_argument("--trunks", nargs="+", choices=get_args(TrainableTrunk), default=["elmo"])
    parser.add_argument("--learning-rates", type=float, nargs="+", help="each is tried [default: the preset's]")
    parser.add_argument("--splits", nargs="+", choices=SPLITS[1:], default=list(SPLITS[1:]), help="to be measured")
    arguments = parser.parse_args()

    rows = counted(arguments.folder, arguments.splits)
    found: dict[tuple[str, str], list[float]] = {}
    for trunk, rate, minutes, seed in itertools.product(
        arguments.trunks, arguments.learning_rates or [None], arguments.minutes, arguments.seeds
    ):
        run = Run(arguments.preset, minutes, seed, trunk, rate)
        elmo, taken = trained(arguments.folder, arguments.out, run)
        training = elmo.stored.config.training
        tokens = f"{training['budget_tokens'] / 1e6:.1f} M"
        for split in arguments.splits:
            path = arguments.folder / f"wikitext2.{split}.txt.xz"
            perplexity = measure_perplexity(elmo, [path], lines="sentence", is_tokenized=True).perplexity
            both = [f"{perplexity.forward:.1f}", f"{perplexity.backward:.1f}", f"{perplexity.mean:.1f}"]
            name = f"{run.preset}, {trunk}, {minutes} minutes"
            rows.append([split, name, f"{training['learning_rate']:g}", seed, f"{taken:.0f}", tokens, *both])
            found.setdefault((split, f"{name}, {training['learning_rate']:g}"), []).append(perplexity.mean)
    header = ["split", "model", "rate", "seed", "minutes taken", "tokens read", "forward", "backward", "perplexity"]
    body = table(header, sorted(rows, key=lambda row: str(row[0]), reverse=True)) + (
        "\n\nWord level, `<unk>` as the corpus has it, every line one sentence with one boundary, full softmax. "
        '"Minutes taken" is the whole command: reading, training, and measuring all of the validation text.'
    )
    if len(arguments.seeds) > 1:
        spreads = {key: Spread(tuple(several)) for key, several in found.items()}
        means = [[*key, f"{spread.mean:.1f} ± {spread.deviation:.1f}"] for key, spread in spreads.items()]
        body += "\n\n" + table(["split", "model", f"mean of {len(arguments.seeds)} seeds"], means)
    command = command_line("quality.py FOLDER", parser, arguments, "folder out")
    write_result(f"quality-{'-'.join(map(str, arguments.minutes))}m", command, body)


if __name__ == "__main__":
    main()
