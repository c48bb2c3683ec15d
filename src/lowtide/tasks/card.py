"""The card of a task: what it was learned on, what it scored, what each layer is worth. Counts, never text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lowtide.amounts import format_seconds
from lowtide.embeddings.base import Embedder
from lowtide.embeddings.one_hot import OneHot
from lowtide.embeddings.type_vectors import TypeEmbedding
from lowtide.tasks.fine_tuning import can_learn
from lowtide.tasks.history import MixState
from lowtide.tasks.layer_entry import ONE_HOT_WIDTH
from lowtide.tasks.options import ClassifierOptions, FineTuning, LayerOptions, MatcherOptions, TaggerOptions

if TYPE_CHECKING:
    from lowtide.tasks.task import Task

_MOST_LABELS = 30


def write_card(task: Task[Any, Any], name: str, *, has_picture: bool) -> str:
    """The text of ``README.md``.

    Args:
        task: that has learned something.
        name: of the folder.
        has_picture: whether ``alphas.svg`` lies beside it.
    """
    head, fitted, history = task.options, task.fit_options, task.history
    is_tuned, size = fitted.fine_tuning is not None, fitted.batch_size_of(task.num_train)
    embeddings = "; ".join(
        f"{type(e).__name__}, {_size(e)}, checksum `{e.checksum[:12]}`, {_way(e, is_tuned=is_tuned)}"
        for e in task.embeddings
    )
    reader = (
        f"BiLSTM, {head.num_reader_layers} x {head.state_width} in each direction" if head.reader == "lstm" else "none"
    )
    kept = f"; epoch {history.best_epoch} of {history.num_epochs} kept" if history.num_epochs else ""
    rows = [
        ("examples", f"{task.num_train:,}"),
        ("labels", _labels(task.labels)),
        ("embeddings", embeddings),
        ("layers", _layers(head.layers)),
        ("reader", reader),
        ("characters", f"{head.char_filters} filters" if head.char_filters else "none"),
        ("dropout", f"{head.dropout:g}"),
        *_of_kind(task),
        ("fit", f"Adam {fitted.learning_rate:g}, batches of {size}, seed {fitted.seed}{kept}"),
        *([("fine-tuning", _tuning(fitted.fine_tuning))] if fitted.fine_tuning is not None else []),
        ("time", format_seconds(history.seconds)),
    ]
    parts = [
        f"# {name}\n",
        f"A {task.kind}, learned with lowtide.\n",
        f'```python\nfrom lowtide import tasks\n\ntask = tasks.load("{name}")\n```\n',
        "| | |\n|---|---|\n" + "\n".join(f"| {what} | {said} |" for what, said in rows) + "\n",
    ]
    if task.scores:
        measured = [
            f"| {on} | {found.metric} | {found.score:.4f} | {found.num_examples:,} |"
            for on, found in task.scores.items()
        ]
        parts.append("| on | measure | score | examples |\n|---|---|---|---|\n" + "\n".join(measured) + "\n")
    if task.mixes:
        parts.append(_mixes(task))
    if has_picture:
        parts.append("![What every layer was worth, over time](alphas.svg)\n")
    return "\n".join(parts)


def _size(embedding: Embedder) -> str:
    num_layers = embedding.num_layers
    return f"{num_layers} layer{'s' if num_layers > 1 else ''} of width {embedding.width}"


def _way(embedding: Embedder, *, is_tuned: bool) -> str:
    """What is learned of an embedding."""
    if isinstance(embedding, OneHot):
        return f"a vector of width {ONE_HOT_WIDTH} a type, learned with the task"
    if is_tuned and (can_learn(embedding) or isinstance(embedding, TypeEmbedding)):
        return "learned with the task"
    return "frozen" if isinstance(embedding, TypeEmbedding) else "frozen, states in float16"


def _layers(options: LayerOptions) -> str:
    where = "at the input and at the output" if options.at_output else "at the input"
    return f"{options.choice}, layer norm {options.layer_norm}, lambda {options.penalty:g}, {where}"


def _of_kind(task: Task[Any, Any]) -> list[tuple[str, str]]:
    """What one kind of task decides, and others do not know."""
    head, settings = task.options, task.settings()
    if isinstance(head, TaggerOptions):
        return [("tags", f"spans in {settings['scheme']}" if settings["scheme"] else "no spans")]
    if isinstance(head, ClassifierOptions):
        return [("pool", head.pool)]
    assert isinstance(head, MatcherOptions)
    objective: str = head.objective
    if objective == "cosine":
        objective += f", scores {settings['lowest']:g} to {settings['highest']:g}"
    if objective == "contrastive":
        objective += f", margin {head.margin:g}, `{head.same_label}` above a cosine of {settings['threshold']:.3f}"
    return [("pool", head.pool), ("objective", objective)]


def _tuning(tuning: FineTuning) -> str:
    order = "one layer more in each epoch" if tuning.is_gradual else "all layers at once"
    return f"the top layer at {tuning.learning_rate:g}, every lower one {tuning.decay:g} times slower, {order}"


def _mixes(task: Task[Any, Any]) -> str:
    states = {name: MixState.of(mix) for name, mix in task.mixes.items()}
    most = max(len(state.weights) for state in states.values())
    header = "| mix | γ | " + " | ".join(f"layer {layer}" for layer in range(most)) + " |"
    rows = [
        f"| {name} | {state.gamma:.3f} | " + " | ".join(f"{weight:.3f}" for weight in state.weights) + " |"
        for name, state in states.items()
    ]
    told = "What each layer is worth to this task (α; γ scales their sum):\n\n"
    return told + "\n".join([header, "|---" * (most + 2) + "|", *rows]) + "\n"


def _labels(labels: list[str]) -> str:
    if not labels:
        return "a score"
    shown = ", ".join(f"`{label}`" for label in labels[:_MOST_LABELS])
    return f"{len(labels)}: {shown}" + (", ..." if len(labels) > _MOST_LABELS else "")
