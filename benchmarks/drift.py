"""How far the vectors of a model drift when its numbers are kept in fewer bits.

    python benchmarks/drift.py MODEL STORED TEXT --tokens 20000

MODEL is a folder of float32, STORED what ``lowtide convert MODEL STORED --store int8`` made of it. Both embed the first
tokens of a text; every vector is compared with its own, and beside that with that of another token, to see how much a
difference is.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator

import numpy as np
from common import table, write_result
from numpy.typing import NDArray

import lowtide
from lowtide.text.corpus import Corpus
from lowtide.text.tokenize import Sentence


def sentences_of(elmo: lowtide.Elmo, text: str, num_tokens: int) -> Iterator[Sentence]:
    """The first sentences of a text, of at least so many tokens."""
    left = num_tokens
    for sentence in Corpus(text).sentences():
        tokens = elmo.tokenizer.split(sentence.text)
        if tokens:
            yield tokens
            left -= len(tokens)
        if left <= 0:
            return


def cosine(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(tokens, width) twice to (tokens,)."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    found: NDArray[np.float64] = (first * second).sum(axis=1) / np.maximum(lengths, 1e-12)
    return found


def main() -> None:
    """Compare two models, layer by layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("stored")
    parser.add_argument("text")
    parser.add_argument("--tokens", type=int, default=20_000)
    arguments = parser.parse_args()
    exact, kept = (lowtide.load(name, device="cpu") for name in (arguments.model, arguments.stored))
    sentences = list(sentences_of(exact, arguments.text, arguments.tokens))
    wanted, found = (
        np.concatenate(list(elmo.embed_iter(sentences, layers="all")), axis=1).astype(np.float64)
        for elmo in (exact, kept)
    )  # (layers, tokens, width)
    shuffled = np.random.default_rng(0).permutation(wanted.shape[1])
    rows = []
    for layer, (one, other) in enumerate(itertools.zip_longest(wanted, found)):
        near, far = cosine(one, other), cosine(one, one[shuffled])
        distance = np.linalg.norm(one - other, axis=1) / np.maximum(np.linalg.norm(one, axis=1), 1e-12)
        values = (near.mean(), np.quantile(near, 0.001), near.min(), distance.mean(), far.mean())
        rows.append([layer, *(f"{value:.5f}" for value in values)])
    header = ["layer", "mean cosine", "of one in a thousand", "worst", "mean distance / length", "cosine of two tokens"]
    body = f"{table(header, rows)}\n\n{wanted.shape[1]:,} tokens of {len(sentences):,} sentences."
    write_result("drift", f"drift.py MODEL STORED TEXT --tokens {arguments.tokens}", body)


if __name__ == "__main__":
    main()
