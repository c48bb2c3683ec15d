"""The card: what a model is, written by the trainer itself. It holds counts, never text."""

from __future__ import annotations

from lowtide.amounts import format_seconds
from lowtide.embeddings.calibration import Calibration
from lowtide.embeddings.language_model import Perplexity
from lowtide.text.shards import CorpusCounts
from lowtide.training.checkpoint import Position
from lowtide.training.log import LOSS, PERPLEXITY
from lowtide.training.settings import Settings


def write_card(
    name: str,
    settings: Settings,
    counts: CorpusCounts,
    position: Position,
    *,
    corpus: str,
    num_truncated: int,
    perplexity: Perplexity | None,
    unigram: float | None,
    calibration: Calibration | None,
    num_more_words: int,
    num_parameters: int,
    forecast_seconds: float,
) -> str:
    """The text of ``README.md``.

    Args:
        name: of the folder.
        settings: of the training.
        counts: of the text.
        position: at the end.
        corpus: what was read, in words without names: ``3 files, one sentence a line``.
        num_truncated: types that did not fit their row of characters.
        perplexity: of the held-out text (of a spread of 100,000 tokens, or a text of its own); None if there is none.
        unigram: perplexity of the unigram model there.
        calibration: as it was fitted; None if there was too little text.
        num_more_words: that have a vector and are not predicted.
        num_parameters: of the biLM.
        forecast_seconds: that the training was to take.
    """
    tokenizer = counts.tokenizer
    kind = "characters of every word" if settings.bilm.char_cnn else "looked up, one a type"
    said = "; ".join(f"{name} {value}" for name, value in settings.said_of_text.items()) or "nothing"
    tied = "tied to the input" if settings.is_tied else "of its own"
    train_tokens = counts.num_tokens - counts.num_held_out_tokens
    held_out = f"{counts.num_held_out_tokens:,}" if counts.num_held_out or perplexity is None else "a text of its own"
    threads = f"{settings.num_threads} threads"
    if settings.num_processes > 1:
        threads = f"{settings.num_processes} processes of {threads}"
    curves = f"![loss]({LOSS})"
    measured = "No text was held out: the perplexity is not known."
    if perplexity is not None and unigram is not None:
        measured = f"""\
Held-out perplexity (over all types, per token, one boundary a sentence counted, unknown words scored as `<UNK>`):

| forward | backward | mean | unigram model | targets | unknown |
|---|---|---|---|---|---|
| {perplexity.forward:.1f} | {perplexity.backward:.1f} | {perplexity.mean:.1f} | {unigram:.1f} | {perplexity.num_targets:,} | {perplexity.unknown_rate:.2%} |"""
        curves = f"![perplexity]({PERPLEXITY}) {curves}"
    begun = "" if settings.begun_with is None else f"| begun with | {settings.begun_with} |\n"
    calibrated = "none: too little text"
    if calibration is not None:
        calibrated = (
            f"fitted to {calibration.num_tokens:,} tokens; mean cosine of two random ones by layer, "
            f"before and after: {calibration.cosines()}"
        )
    also = "" if settings.begun_with is None else ", and that of the model it was begun with"
    more, listed = "", ""
    if num_more_words:
        more = f"; {num_more_words:,} words more have a vector"
        listed = f" And `words.txt`: {num_more_words:,} words of the model it was begun with."
    return f"""# {name}

A bidirectional language model (ELMo) trained with lowtide, preset `{settings.preset}`, {num_parameters / 1e6:.1f} M parameters.

```python
import lowtide

elmo = lowtide.load("{name}")
elmo.embed("...")  # a vector for every token
```

| | |
|---|---|
| text | {corpus}: {counts.num_documents:,} documents, {counts.num_sentences:,} sentences, {counts.num_tokens:,} tokens |
| trained on | {train_tokens:,} tokens; {held_out} held out |
| tokenizer | `{tokenizer.name}`, language `{tokenizer.language}`, version {tokenizer.version} |
| vocabulary | {settings.vocabulary_size:,} types seen at least {settings.min_count} times; rarer ones are predicted as `<UNK>`{more} |
| input | {kind}; {num_truncated:,} types were longer than a row and cut |
| layers | {settings.bilm.lstm.num_layers + 1} of width {2 * settings.bilm.lstm.state_width} (layer 0 is before context) |
| training | {position.tokens:,} tokens read ({settings.epochs:.2f} passes) in {position.step:,} steps, {format_seconds(position.seconds)} (forecast: {format_seconds(forecast_seconds)}), {threads}, {settings.device}, {settings.dtype} |
| objective | `{settings.objective}`, trunk `{settings.trunk}`; {settings.softmax} softmax, {tied} |
| optimiser | AdamW, learning rate {settings.learning_rate:g}, seed {settings.seed} |
| said of the text | {said} |
{begun}| state | {"carried from sentence to sentence within a document" if settings.documents else "zero at every sentence"} |
| dropout | {settings.dropouts_in_use} |
| best state | step {position.best_step:,} |
| calibration | {calibrated} |

{measured}

{curves}

Licence: not stated; that of the text decides{also}. Anyone who has this folder can read `vocabulary.txt`: every
type that stood at least {settings.min_count} times in the text.{listed}
"""
