"""How well a training of some minutes predicts WikiText-2, beside models that count.

    python benchmarks/quality.py FOLDER --minutes 30 60 --out RUNS

FOLDER holds ``wikitext2.{train,valid,test}.txt.xz``: tokens between spaces, ``<unk>`` its own. A
run that is found whole in RUNS is only measured again, and one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from common import table, write_result
from ngrams import KneserNey, unigram_perplexity

import lowtide
from lowtide.embeddings.elmo import Elmo
from lowtide.evaluation.perplexity import measure_perplexity
from lowtide.text.corpus import Corpus

SPLITS = ("train", "valid", "test")


def sentences(path: Path) -> Iterator[list[str]]:
    """Tokens, line by line; blank lines passed over."""
    for raw in Corpus([path], lines="sentence").sentences():
        yield raw.text.split()


def trained(folder: Path, out: Path, minutes: int, seed: int, preset: str) -> tuple[Elmo, float]:
    """The model of a run, and its minutes of wall time (that of all parts, if it was stopped)."""
    clock = out.with_name(out.name + ".minutes")
    if not (out / "model.safetensors").is_file():
        before = json.loads(clock.read_text(encoding="utf-8")) if clock.is_file() else 0.0
        started = time.monotonic()
        try:
            lowtide.pretrain(
                [folder / "wikitext2.train.txt.xz"],
                out=out,
                preset=preset,
                tokenizer="whitespace",
                lines="sentence",
                valid=folder / "wikitext2.valid.txt.xz",
                min_count=1,
                time=f"{minutes}m",
                seed=seed,
                resume=True,
            )
        finally:
            clock.write_text(json.dumps(before + (time.monotonic() - started) / 60), encoding="utf-8")
    return Elmo.open(out, device="cpu"), json.loads(clock.read_text(encoding="utf-8"))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=int, nargs="+", default=[30, 60])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--out", type=Path, required=True, help="where the models go")
    arguments = parser.parse_args()

    paths = {split: arguments.folder / f"wikitext2.{split}.txt.xz" for split in SPLITS}
    kneser_ney = KneserNey(sentences(paths["train"]))
    rows: list[list[object]] = []
    for split in ("valid", "test"):
        unigram = unigram_perplexity(sentences(paths["train"]), sentences(paths[split]))
        rows.append([split, "unigram", "", "", "", f"{unigram:.1f}", ""])
        rows.append(
            [split, "Kneser-Ney trigram", "", "", "", f"{kneser_ney.perplexity(sentences(paths[split])):.1f}", ""]
        )
    for minutes in arguments.minutes:
        for seed in arguments.seeds:
            out = arguments.out / f"{arguments.preset}-{minutes}m-{seed}"
            elmo, taken = trained(arguments.folder, out, minutes, seed, arguments.preset)
            training = elmo.stored.config.training
            for split in ("valid", "test"):
                found = measure_perplexity(elmo, [paths[split]], lines="sentence", is_tokenized=True).perplexity
                rows.append(
                    [
                        split,
                        f"lowtide, {arguments.preset}, {minutes} minutes, seed {seed}",
                        f"{found.forward:.1f}",
                        f"{found.backward:.1f}",
                        f"{taken:.0f}",
                        f"{found.mean:.1f}",
                        f"{training['budget_tokens'] / 1e6:.1f} M",
                    ]
                )
    header = ["split", "model", "forward", "backward", "minutes taken", "perplexity (mean)", "tokens read"]
    minutes_ = " ".join(map(str, arguments.minutes))
    seeds = " ".join(map(str, arguments.seeds))
    body = table(header, sorted(rows, key=lambda row: str(row[0]), reverse=True)) + (
        "\n\nWord level, `<unk>` as the corpus has it, every line one sentence with one boundary, full softmax. "
        '"Minutes taken" is the whole command: reading, training, and measuring all of the validation text.'
    )
    write_result(
        f"quality-{'-'.join(map(str, arguments.minutes))}m",
        f"quality.py FOLDER --minutes {minutes_} --seeds {seeds} --preset {arguments.preset}",
        body,
    )


if __name__ == "__main__":
    main()
