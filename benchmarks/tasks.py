"""What each rung, and each layer, is worth to tasks: the same head over all of them.

Every cell (a data set, what enters, a share of the labels, a seed) is a file in ``--work``, and is not computed again:
whoever was stopped gives the same command once more. Data lie under ``--data`` as ``ner/en/conll2003.train.conll`` and
so on, compressed or not; what is not there is left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from common import command_line, table, write_result

from lowtide.config import to_json
from lowtide.embeddings.base import Embedder
from lowtide.embeddings.loading import load_any
from lowtide.embeddings.one_hot import OneHot
from lowtide.embeddings.type_vectors import type_config
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.files import write_json
from lowtide.tasks import (
    Classifier,
    ClassifierOptions,
    FineTuning,
    FitOptions,
    LayerOptions,
    Matcher,
    MatcherOptions,
    Tagger,
    TaggerOptions,
)
from lowtide.tasks.history import MixState
from lowtide.tasks.reading import read_pairs, read_tagged, read_texts
from lowtide.tasks.seeds import Spread
from lowtide.tasks.task import Task

CHAR_FILTERS = 30
"""Of every tagger, whatever enters: both sides of a comparison read the letters."""
FEW = 5000


@dataclass(frozen=True)
class DataSet:
    """A labelled set, and what is learned from it."""

    name: str
    language: str
    kind: str
    """``tags``, ``labels``, ``pairs`` or ``scores``."""
    files: str
    seeds: int
    limit: int | None = None
    """Of the training examples."""


DATA_SETS = [
    DataSet("CoNLL-2003", "en", "tags", "ner/en/conll2003.{}.conll", 3),
    DataSet("SST-2", "en", "labels", "cls/en/sst2.{}.tsv", 3),
    DataSet("SICK, labels", "en", "pairs", "pairs/en/sick.{}.tsv", 3),
    DataSet("SICK, scores", "en", "scores", "pairs/en/sick.{}.tsv", 3),
    DataSet("Resume", "zh", "tags", "ner/zh/resume.{}.conll", 3),
    DataSet("hotel reviews", "zh", "labels", "cls/zh/chnsenticorp-hotel.{}.tsv", 3),
    DataSet("SST-5", "en", "labels", "cls/en/sst5.{}.tsv", 1, FEW),
    DataSet("TREC-6", "en", "labels", "cls/en/trec6.{}.tsv", 1, FEW),
    DataSet("MRPC", "en", "pairs", "pairs/en/mrpc.{}.tsv", 1, FEW),
    DataSet("MSRA", "zh", "tags", "ner/zh/msra.{}.conll", 1, FEW),
    DataSet("Weibo", "zh", "tags", "ner/zh/weibo.{}.conll", 1, FEW),
    DataSet("THUCNews titles", "zh", "labels", "cls/zh/thucnews10k.{}.tsv", 1, FEW),
    DataSet("LCQMC", "zh", "pairs", "pairs/zh/lcqmc.{}.tsv", 1, FEW),
]
FINE_TUNED = ("CoNLL-2003", "SST-2")
SHARES = (0.01, 0.03, 0.1, 0.2, 0.3, 1.0)
BESIDE = "word2vec and learned"
"""Both put together: the paper's own arrangement (section 3.2), in which word vectors stay and ELMo is added."""
FINE = "learned, fine-tuned"
LABEL_EFFICIENCY = ("word2vec", "learned", BESIDE)
GAINS = (("learned", "word2vec"), (BESIDE, "word2vec"), ("learned", "top"), ("learned", "layer 0"))
OF_LAYERS = ("word2vec", "layer 0", "top", "average", "learned")
COLUMNS = ("one-hot", "word2vec", "layer 0", "top", "average", "learned", BESIDE, FINE)


def find(data: Path, files: str, part: str) -> Path | None:
    """A file of a data set, compressed or not."""
    path = data / files.format(part)
    return next((found for found in (path, path.with_name(path.name + ".xz")) if found.is_file()), None)


def parts(data: Path, of: DataSet) -> list[list[Any]] | None:
    """Training, validation and test examples; where no file of training examples is to be had, those of validation."""
    read: dict[str, Callable[[Path], list[Any]]] = {
        "tags": read_tagged,
        "labels": read_texts,
        "pairs": read_pairs,
        "scores": lambda path: read_pairs(path, answer="score"),
    }
    paths = [find(data, of.files, part) for part in ("train", "valid", "test")]
    if paths[1] is None or paths[2] is None:
        return None
    train, valid, test = (None if path is None else read[of.kind](path) for path in paths)
    assert valid is not None and test is not None
    if train is None:
        train, valid = valid[:-1000], valid[-1000:]
    return [train[: of.limit], valid, test]


def split(of: DataSet, examples: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """What is asked, and what is to be answered."""
    if of.kind == "tags":
        return [example.tokens for example in examples], [example.tags for example in examples]
    if of.kind == "labels":
        return [example.text for example in examples], [example.label for example in examples]
    return [(example.first, example.second) for example in examples], [example.answer for example in examples]


def make(of: DataSet, embedding: list[Embedder], layers: str) -> Task[Any, Any]:
    """A task that has learned nothing."""
    entering = LayerOptions(layers)
    if of.kind == "tags":
        return Tagger(embedding, TaggerOptions(layers=entering, char_filters=CHAR_FILTERS, lenient=True))
    if of.kind == "labels":
        return Classifier(embedding, ClassifierOptions(layers=entering))
    objective = MatcherOptions(layers=entering, objective="cosine" if of.kind == "scores" else "classify")
    return Matcher(embedding, objective)


def enters(column: str, models: dict[str, Embedder]) -> tuple[list[Embedder], str]:
    """The embeddings of a column, and which of their layers."""
    if column in ("one-hot", "word2vec"):
        return [models[column]], "learned"
    layers = {"layer 0": "0", "top": "top", "average": "average"}
    beside = [models["word2vec"]] if column == BESIDE else []
    return [*beside, models["elmo"]], layers.get(column, "learned")


def cells(arguments: argparse.Namespace) -> Iterator[tuple[DataSet, str, float, int]]:
    """All that is to be computed: data set, column, share of the labels, seed."""
    for of in DATA_SETS:
        if arguments.only and of.name not in arguments.only:
            continue
        columns = [column for column in COLUMNS if column in arguments.columns]
        if of.name not in FINE_TUNED and FINE in columns:
            columns.remove(FINE)
        for seed in range(min(of.seeds, arguments.seeds)):
            for column in columns:
                yield of, column, 1.0, seed
            for share in SHARES[:-1] if of.name == "CoNLL-2003" and arguments.shares else ():
                yield from ((of, column, share, seed) for column in columns if column in LABEL_EFFICIENCY)


def compute(
    of: DataSet, column: str, share: float, seed: int, models: dict[str, Embedder], arguments: argparse.Namespace
) -> dict[str, Any] | None:
    """Learn and judge one cell."""
    found = parts(arguments.data, of)
    if found is None:
        return None
    train, valid, test = found
    count = max(1, round(share * len(train)))
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen = train if share == 1 else [train[number] for number in sorted(order[:count])]
    embeddings, layers = enters(column, models)
    options = with_batches(options_of(column, seed, arguments), len(chosen))
    started = time.monotonic()
    task: Any = make(of, embeddings, layers)
    task.fit(*split(of, chosen), valid=split(of, valid), options=options, store=arguments.work / "states")
    learned = time.monotonic()
    task.predict(split(of, test)[0])
    ended = time.monotonic()
    judged = task.evaluate(*split(of, test))
    num_tokens = sum(len(task.cut(text)) for text in task._texts(test))
    mixes = {name: MixState.of(mix) for name, mix in task.mixes.items()}
    return {
        "metric": judged.metric,
        "test": judged.score,
        "valid": task.scores["valid"].score,
        "mixes": {name: {"gamma": state.gamma, "weights": state.weights} for name, state in mixes.items()},
        "epochs": task.history.num_epochs,
        "num_train": len(chosen),
        "checksums": [embedding.checksum for embedding in embeddings],
        "fit": to_json(options),
        "head": to_json(task.options),
        "threads": torch.get_num_threads(),
        "seconds": round(learned - started),
        "tokens_per_second": round(num_tokens / (ended - learned)),
    }


def options_of(column: str, seed: int, arguments: argparse.Namespace) -> FitOptions:
    """How a cell is learned."""
    tuning = FineTuning() if column == FINE else None
    return FitOptions(seed=seed, epochs=arguments.epochs, patience=arguments.patience, fine_tuning=tuning)


def is_kept(cell: dict[str, Any], task: Task[Any, Any], options: FitOptions) -> bool:
    """Whether a cell that lies there was learned in this way, by such a head; one that was not is computed again."""
    expected = to_json(task.options), to_json(with_batches(options, cell["num_train"]))
    return bool((cell["head"], cell["fit"]) == expected)


def with_batches(options: FitOptions, num_train: int) -> FitOptions:
    """The options with their batches as so many examples have them: a cell says what it was learned with."""
    return replace(options, batch_size=options.batch_size_of(num_train))


def _spread(scores: Sequence[float]) -> str:
    if not scores:
        return ""
    found = Spread(tuple(scores))
    return f"{found.mean:.2f} ± {found.deviation:.2f}" if len(scores) > 1 else f"{found.mean:.2f}"


def report(done: dict[tuple[str, str, float, int], dict[str, Any]]) -> str:
    """The tables of all cells that are there."""

    def scores(name: str, column: str, share: float = 1.0) -> list[float]:
        return [100 * cell["test"] for (n, c, s, _), cell in sorted(done.items()) if (n, c, s) == (name, column, share)]

    def spread(name: str, column: str, share: float = 1.0) -> str:
        return _spread(scores(name, column, share))

    names = [of.name for of in DATA_SETS if any(key[0] == of.name for key in done)]
    metric = {key[0]: cell["metric"] for key, cell in done.items()}
    blocks = [
        table(
            ["test, x 100", "measure", *COLUMNS],
            [[name, metric[name], *(spread(name, column) for column in COLUMNS)] for name in names],
        )
    ]
    gains = [
        (name, column, [a - b for a, b in zip(scores(name, column), scores(name, than), strict=False)], than)
        for name in names
        for column, than in GAINS
    ]
    blocks.append(
        table(
            ["seed by seed, x 100", "what", "gain"],
            [[name, f"{column} - {than}", _spread(gain)] for name, column, gain, than in gains if gain],
        )
    )
    whole = [name for name in names if all(scores(name, column) for column in OF_LAYERS)]
    if whole:
        means = [Spread(tuple(Spread(tuple(scores(name, c))).mean for name in whole)).mean for c in OF_LAYERS]
        blocks.append(
            table([f"mean of {len(whole)} data sets", *OF_LAYERS], [["", *(f"{mean:.2f}" for mean in means)]])
        )
    times = [
        [name, column, cell["threads"], f"{cell['seconds'] / 60:.1f}", f"{cell['tokens_per_second']:,}"]
        for (name, column, share, seed), cell in sorted(done.items())
        if share == 1 and seed == 0 and "threads" in cell
    ]
    if times:
        blocks.append(table(["seed 0", "what enters", "threads", "minutes", "test tokens answered a second"], times))
    weights = []
    for name in names:
        mixes = [cell["mixes"] for key, cell in done.items() if key[:3] == (name, "learned", 1.0)]
        for mix in mixes[0] if mixes else ():
            layers = list(zip(*(found[mix]["weights"] for found in mixes), strict=True))
            gamma = Spread(tuple(found[mix]["gamma"] for found in mixes))
            weights.append([name, mix, str(gamma), *(str(Spread(layer)) for layer in layers)])
    if weights:
        layers_ = [f"α {layer}" for layer in range(max(map(len, weights)) - 3)]
        blocks.append(table(["what the layers are worth", "mix", "γ", *layers_], weights))
    if any(key[2] < 1 for key in done):
        rows = [
            [f"{share:.0%}", *(spread("CoNLL-2003", column, share) for column in LABEL_EFFICIENCY)] for share in SHARES
        ]
        blocks.append(table(["CoNLL-2003, share of the labels", *LABEL_EFFICIENCY], rows))
    return "\n\n".join(blocks)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    for language in ("en", "zh"):
        parser.add_argument(f"--{language}", nargs=2, metavar=("ELMO", "WORD2VEC"), help="of the same text")
    parser.add_argument("--only", nargs="+", help="names of data sets")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS), help="what enters")
    parser.add_argument("--seeds", type=int, default=3, help="at most")
    parser.add_argument(
        "--threads", type=int, help="of the processor; two runs of one thread are quicker than one of 2"
    )
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--patience", type=int, default=FitOptions.patience, help="epochs without a better one")
    parser.add_argument("--shares", action="store_true", help="label efficiency on CoNLL-2003, too")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    models: dict[str, dict[str, Embedder]] = {}
    for language in ("en", "zh"):
        if getattr(arguments, language):
            elmo, word2vec = (load_any(name) for name in getattr(arguments, language))
            assert isinstance(word2vec, Word2Vec), "the second one is a word2vec model"
            config = type_config("one_hot", word2vec.config.tokenizer, lowercase=word2vec.config.lowercase)
            one_hot = OneHot(config, word2vec.vocabulary)
            models[language] = {"elmo": elmo, "word2vec": word2vec, "one-hot": one_hot}
    done: dict[tuple[str, str, float, int], dict[str, Any]] = {}
    for of, column, share, seed in cells(arguments):
        if of.language not in models:
            continue
        which = "+".join(embedding.checksum[:8] for embedding in enters(column, models[of.language])[0])
        name = f"{of.name}-{column}-{share:g}-{seed}-{which}".replace(",", "").replace(" ", "_")
        path = arguments.work / "cells" / f"{name}.json"
        lying = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        task = make(of, *enters(column, models[of.language]))
        if lying is None or not is_kept(lying, task, options_of(column, seed, arguments)):
            cell = compute(of, column, share, seed, models[of.language], arguments)
            if cell is None:
                continue
            write_json(path, cell)
            print(f"{name}: {cell['metric']} {cell['test']:.4f} in {cell['seconds']} s", flush=True)
        done[of.name, column, share, seed] = json.loads(path.read_text(encoding="utf-8"))
    start = " ".join(["tasks.py --data DATA --work WORK", *(f"--{language} ELMO WORD2VEC" for language in models)])
    command = command_line(start, parser, arguments, "data work en zh")
    write_result("tasks", command, report(done))


if __name__ == "__main__":
    main()
