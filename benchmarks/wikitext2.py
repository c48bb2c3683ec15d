"""How well a network predicts WikiText-2 after reading its training text for so long: states carried, words looked up.

    python benchmarks/wikitext2.py FOLDER --out RUNS --name screen-1 --cells 512 --width 256 --tokens 1500k
    python benchmarks/wikitext2.py FOLDER --out RUNS --name best --cells 512 --width 256 --minutes 140 --test

FOLDER holds ``wikitext2.{train,valid,test}.txt.xz``: tokens between spaces, ``<unk>`` its own. Word2vec of the training
text comes first, of which the vectors begin. A run that was stopped goes on. Settings are chosen on the validation
text; ``--test`` looks at the test text, and writes the result.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from common import command_line, table, write_result
from quality import SPLITS, sentences

import lowtide
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.files import write_text
from lowtide.model import LSTMConfig
from lowtide.text.opening import CutOptions
from lowtide.training.presets import PRESETS
from lowtide.training.regularisation import dropouts_said

_TITLE = re.compile(r"^= [^=].*[^=] =$")
"""The first line of an article."""


def write_articles(source: Path, target: Path) -> None:
    """The same lines, with a blank one before every article: that is what parts documents."""
    lines: list[str] = []
    for tokens in sentences(source):
        line = " ".join(tokens)
        lines += ["", line] if _TITLE.match(line) else [line]
    write_text(target, "\n".join(lines) + "\n")


def train(arguments: argparse.Namespace, texts: dict[str, Path]) -> tuple[Elmo, float]:
    """The model of a run, and its minutes of wall time (that of all parts, if it was stopped)."""
    out, clock = arguments.out / arguments.name, arguments.out / f"{arguments.name}.minutes"
    before = json.loads(clock.read_text(encoding="utf-8")) if clock.is_file() else 0.0
    if (out / "model.safetensors").is_file():
        return Elmo.open(out, device="cpu"), before
    started = time.monotonic()
    vectors = arguments.out / f"word2vec-{arguments.width}"
    options = CutOptions(language="en", tokenizer="whitespace", lines="sentence")
    try:
        if not (vectors / "config.json").is_file():
            Word2Vec.train(
                [texts["train"]], options=options, width=arguments.width, epochs=arguments.word2vec_epochs, min_count=1
            ).save(vectors)
        PRESETS["wikitext2"] = replace(
            PRESETS["small"],
            lstm=LSTMConfig(cell_width=arguments.cells, width=arguments.width, num_layers=arguments.layers),
            rows=arguments.rows,
            num_samples=arguments.samples,
        )
        lowtide.pretrain(
            [texts["train"]],
            out=out,
            valid=texts["valid"],
            preset="wikitext2",
            trunk=arguments.trunk,
            language="en",
            tokenizer="whitespace",
            lines="sentence",
            inputs="words",
            vectors=vectors,
            documents=True,
            min_count=1,
            tokens=arguments.tokens,
            time=None if arguments.tokens else f"{arguments.minutes}m",
            learning_rate=arguments.learning_rate,
            dropout=dropouts_said(arguments.dropout),
            softmax=arguments.softmax,
            threads=arguments.threads,
            seed=arguments.seed,
            resume=True,
        )
    finally:
        clock.write_text(json.dumps(before + (time.monotonic() - started) / 60), encoding="utf-8")
    return Elmo.open(out, device="cpu"), json.loads(clock.read_text(encoding="utf-8"))


def row_of(model: Path, file: Path, *, is_carried: bool) -> list[str]:
    """Perplexities with the state carried through a whole file, or with one that begins anew in every line."""
    torch.set_num_threads(1)  # what is carried is read token by token
    lines = list(sentences(file))
    documents = [lines] if is_carried else [[line] for line in lines]
    measured = Elmo.open(model, device="cpu").language_model().perplexity_of(documents)
    values = (measured.forward, measured.backward, measured.mean)
    how = "carried" if is_carried else "line by line"
    return [file.name.split(".")[1], how, f"{measured.num_targets:,}", *(f"{value:.2f}" for value in values)]


def rows_of(model: Path, file: Path) -> list[list[str]]:
    """Both ways, side by side."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        ways = [pool.submit(row_of, model, file, is_carried=is_carried) for is_carried in (True, False)]
        return [way.result() for way in ways]


def main() -> None:
    """Train one network, and measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="where the models go")
    parser.add_argument("--name", required=True, help="of the run, in there")
    parser.add_argument("--cells", type=int, default=512)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--trunk", choices=("elmo", "lstm"))
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--softmax", choices=("full", "sampled", "adaptive"))
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--dropout", default="auto")
    parser.add_argument("--word2vec-epochs", type=int, default=5)
    parser.add_argument("--tokens", help="to read, and not a time")
    parser.add_argument("--minutes", type=int, default=140)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", action="store_true", help="look at the test text, and write the result")
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    texts = {split: arguments.out / f"{split}.txt" for split in SPLITS}
    for split, path in texts.items():
        if not path.is_file():
            write_articles(arguments.folder / f"wikitext2.{split}.txt.xz", path)
    elmo, minutes = train(arguments, texts)
    split = "test" if arguments.test else "valid"
    measured = rows_of(arguments.out / arguments.name, arguments.folder / f"wikitext2.{split}.txt.xz")
    body = table(["split", "state", "targets", "forward", "backward", "mean"], measured)
    if not arguments.test:
        print(f"{arguments.name}, {minutes:.1f} minutes\n{body}")
        return
    settings = elmo.stored.config.training
    passes = settings["budget_tokens"] / settings["num_train_tokens"]
    about = (
        f"{minutes:.0f} minutes of {settings['num_threads']} threads: reading, word2vec, {passes:.1f} passes "
        f"({settings['budget_tokens'] / 1e6:.2f} M tokens), the looks at the validation text. Word level, `<unk>` as "
        "the corpus has it, one boundary a line, full likelihood."
    )
    command = command_line("wikitext2.py FOLDER --out RUNS", parser, arguments, "folder out")
    write_result("wikitext2", command, f"{body}\n\n{about}")


if __name__ == "__main__":
    main()
