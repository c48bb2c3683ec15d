"""Train the models that ship: ``en`` and ``zh``.

    python benchmarks/shipped_models.py en FOLDER --out RUNS
    python benchmarks/shipped_models.py zh FOLDER --out RUNS

FOLDER holds ``NAME.train.txt.xz``, one sentence a line. Word2vec of the same text comes first, of which the vectors
begin; then the training, which goes on where it was stopped. Then ``zh`` reads on in a second one, and ``en`` is given
more words. What ships is ``lowtide convert --store int8`` of the result (``zh``: float16), calibrated anew.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import lowtide
from lowtide.embeddings.expanding import expand
from lowtide.embeddings.loading import read
from lowtide.embeddings.one_hot import OneHot
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.model import LSTMConfig
from lowtide.text.opening import CutOptions
from lowtide.text.tokenize import TokenizerName
from lowtide.training.presets import PRESETS
from lowtide.training.settings import SoftmaxName
from lowtide.weights.conversion import convert

WIDTH = 128
SHAPE = replace(PRESETS["small"], lstm=LSTMConfig(cell_width=512, width=WIDTH))


@dataclass(frozen=True)
class Recipe:
    """Texts and settings of a model."""

    texts: dict[str, float]
    """How often each is read in a pass."""
    tokenizer: TokenizerName
    lowercase: float
    min_count: int
    max_types: int | None
    tokens: str
    softmax: SoftmaxName
    more_tokens: str | None = None
    """That it reads in a second training, which begins with the first."""
    max_words: int = 0
    """That are given to it after its training: those of the text, as the text writes them."""


RECIPES = {
    "en": Recipe(
        {"books": 1, "gov": 2, "wiki": 2, "wikitext2": 2, "newsarticles": 2},
        "words",
        0.2,
        3,
        30_000,
        "13M",
        "sampled",
        max_words=45_000,
    ),
    "zh": Recipe(
        {"news": 1, "pd199801": 2, "essays": 2, "reviews": 2, "wiki": 2, "history": 0.3, "law": 0.3},
        "characters",
        0.0,
        5,
        None,
        "2700k",
        "full",
        more_tokens="9M",
    ),
}


def main() -> None:
    """Train one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=RECIPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="where models go")
    parser.add_argument("--tokens", help="another number of tokens to read")
    arguments = parser.parse_args()

    name, recipe = arguments.model, RECIPES[arguments.model]
    texts = [arguments.folder / f"{text}.train.txt.xz" for text in recipe.texts]
    vectors = arguments.out / f"{name}-word2vec"
    options = CutOptions(language=name, tokenizer=recipe.tokenizer)
    if not (vectors / "config.json").is_file():
        Word2Vec.train(
            texts, options=options, width=WIDTH, lowercase=name == "en", epochs=2, min_count=recipe.min_count
        ).save(vectors)
    PRESETS[name] = SHAPE
    lowtide.pretrain(
        texts,
        out=arguments.out / name,
        preset=name,
        language=name,
        tokenizer=recipe.tokenizer,
        inputs="words",
        vectors=vectors,
        objective="lm+cloze",
        weights=tuple(recipe.texts.values()),
        lowercase=recipe.lowercase,
        min_count=recipe.min_count,
        max_types=recipe.max_types,
        tokens=arguments.tokens or recipe.tokens,
        softmax=recipe.softmax,
        resume=True,
    )
    if recipe.more_tokens:
        lowtide.pretrain(
            texts,
            out=arguments.out / f"{name}-more",
            from_model=arguments.out / name,
            language=name,
            objective="lm+cloze",
            weights=tuple(recipe.texts.values()),
            lowercase=recipe.lowercase,
            tokens=recipe.more_tokens,
            learning_rate=3e-3,
            resume=True,
        )
    if recipe.max_words:
        types = OneHot.train(texts, options=options, min_count=recipe.min_count).vocabulary.types
        trained, word2vec = read(arguments.out / name), Word2Vec.open(vectors)
        expanded = expand(trained, word2vec, types=types, max_words=recipe.max_words)
        convert(expanded.model, arguments.out / f"{name}-expanded")


if __name__ == "__main__":
    main()
