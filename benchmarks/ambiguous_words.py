"""Whether two uses of a word lie nearer to each other where the meaning is the same.

    python benchmarks/ambiguous_words.py MODEL --language en [--static WORD2VEC]

Ten words a language, four sentences each, two of either meaning (`ambiguous_words.tsv`): written before a model had
read them, and not changed since. ``+`` where the mean cosine of the two pairs of one meaning is above that of the four
pairs of different ones; ``++`` where either pair of one meaning is above all four.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from common import table, write_result

import lowtide
from lowtide.embeddings.base import Vectors
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.inputs import MarkedSentence, parse_marked
from lowtide.embeddings.loading import load_any
from lowtide.embeddings.type_vectors import TypeEmbedding
from lowtide.evaluation.comparison import cosines, marked_vectors

SENTENCES = Path(__file__).with_suffix(".tsv")


def read_words(language: str) -> dict[str, tuple[list[str], list[str]]]:
    """The senses of four sentences of every word, and the sentences."""
    words: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    with SENTENCES.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            if row["language"] == language:
                words[row["word"]][0].append(row["sense"])
                words[row["word"]][1].append(row["sentence"])
    return words


def vectors_of(model: Elmo | TypeEmbedding, marked: list[MarkedSentence]) -> dict[str, Vectors]:
    """(sentences, width), for every kind of vector."""
    if isinstance(model, TypeEmbedding):
        kinds: dict[str, int | str] = {"the word itself": 0, "the other words": "context"}
        return {
            name: np.stack([model.embed([m.tokens], layers=kind)[0][m.first : m.last].mean(axis=0) for m in marked])
            for name, kind in kinds.items()
        }
    found = {"mix": marked_vectors(model, marked).mean(axis=1)}
    if model.calibration is not None:
        layers = marked_vectors(model, marked, calibrated=True)
        found["mix, calibrated"] = layers.mean(axis=1)
        found["surroundings, calibrated"] = marked_vectors(model, marked, layers="surroundings", calibrated=True)
    return found


def verdict(vectors: Vectors, senses: list[str]) -> str:
    """``++``, ``+`` or ``-``, and the two mean cosines."""
    cosine, groups = cosines(vectors), np.array(senses)
    pairs = np.triu_indices(len(groups), 1)
    same = groups[pairs[0]] == groups[pairs[1]]
    of_pairs = cosine[pairs]
    sign = "+" if of_pairs[same].mean() > of_pairs[~same].mean() + 1e-9 else "-"
    if of_pairs[same].min() > of_pairs[~same].max() + 1e-9:
        sign = "++"
    return f"{sign} {of_pairs[same].mean():.2f} {of_pairs[~same].mean():.2f}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--language", choices=["en", "zh"], required=True)
    parser.add_argument("--static", type=Path, help="a Word2Vec of the same text, to compare with")
    arguments = parser.parse_args()

    models: dict[str, Elmo | TypeEmbedding] = {"": lowtide.load(arguments.model, device="cpu")}
    if arguments.static is not None:
        models["word2vec: "] = load_any(arguments.static, device="cpu")
    rows: dict[str, list[object]] = {}
    header = ["word"]
    for prefix, model in models.items():
        for word, (senses, sentences) in read_words(arguments.language).items():
            marked = [parse_marked(sentence, model.tokenizer) for sentence in sentences]
            found = vectors_of(model, marked)
            rows.setdefault(word, [word]).extend(verdict(vectors, senses) for vectors in found.values())
        header += [prefix + name for name in found]
    for sign, label in (("+", "apart in the mean, of 10"), ("++", "apart in every pair, of 10")):
        counts = [sum(str(row[place]).startswith(sign) for row in rows.values()) for place in range(1, len(header))]
        rows[label] = [f"**{label}**", *counts]
    body = table(header, list(rows.values())) + (
        "\n\nThe mean cosine of the two pairs of one meaning, then that of the four pairs of different ones. "
        "`+`: the first is larger; `++`: either pair of one meaning is above all four."
    )
    static = " --static WORD2VEC" if arguments.static else ""
    write_result(
        f"ambiguous-words-{arguments.language}",
        f"ambiguous_words.py {arguments.model if '/' not in arguments.model else 'MODEL'} "
        f"--language {arguments.language}{static}",
        body,
    )


if __name__ == "__main__":
    main()
