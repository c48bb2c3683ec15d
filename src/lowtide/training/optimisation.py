"""The optimiser, its schedule, and the clipping of gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer, SparseAdam

from lowtide.training.learning import Networks

_BETAS = (0.9, 0.98)


def make_optimizers(networks: Networks, *, learning_rate: float, weight_decay: float) -> list[Optimizer]:
    """AdamW for the network; for a sampled softmax an Adam that touches only the rows it was shown.

    Matrices decay towards zero, vectors (biases) and embeddings do not.
    """
    softmax = networks.softmax
    dense = [p for p in networks.parameters() if not (softmax.sparse and p is softmax.weight)]
    embeddings = {
        *(id(p) for p in softmax.parameters()),
        *(id(p) for m in networks.bilm.modules() if isinstance(m, nn.Embedding) for p in m.parameters()),
    }
    decays = [p for p in dense if p.ndim > 1 and id(p) not in embeddings]
    stays = [p for p in dense if p.ndim <= 1 or id(p) in embeddings]
    groups = [{"params": decays, "weight_decay": weight_decay}, {"params": stays, "weight_decay": 0.0}]
    optimizers: list[Optimizer] = [AdamW(groups, lr=learning_rate, betas=_BETAS)]
    if softmax.sparse:
        optimizers.append(SparseAdam([softmax.weight], lr=learning_rate, betas=_BETAS))
    return optimizers


def set_rate(optimizers: Iterable[Optimizer], rate: float) -> None:
    """Give all parameters this learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> float:
    """Scale all gradients down if their common norm is above ``max_norm``, sparse ones too.

    PyTorch's own function takes no sparse gradients.

    Returns:
        The norm before.
    """
    values = [_values(parameter) for parameter in parameters if parameter.grad is not None]
    norms = torch._foreach_norm(values)
    norm = torch.linalg.vector_norm(torch.stack(list(norms)))
    scale = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    torch._foreach_mul_(values, scale)
    return float(norm)


def _values(parameter: nn.Parameter) -> Tensor:
    """The numbers of a gradient, to be changed in place."""
    assert parameter.grad is not None
    if parameter.grad.is_sparse:
        parameter.grad = parameter.grad.coalesce()
        return parameter.grad._values()
    return parameter.grad


def optimizer_tensors(optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """The memory of optimisers as named tensors, for a checkpoint."""
    tensors = {}
    for number, optimizer in enumerate(optimizers):
        for index, memory in optimizer.state_dict()["state"].items():
            for name, value in memory.items():
                # SparseAdam counts its steps in a plain number
                tensors[f"{number}.{index}.{name}"] = torch.as_tensor(
                    value, dtype=None if torch.is_tensor(value) else torch.float64
                )
    return tensors


def restore_optimizers(optimizers: Sequence[Optimizer], tensors: dict[str, Tensor]) -> None:
    """Put the memory of `optimizer_tensors` back."""
    for number, optimizer in enumerate(optimizers):
        memory: dict[int, dict[str, object]] = {}
        for key, value in tensors.items():
            owner, index, name = key.split(".")
            if int(owner) == number:
                is_count = name == "step" and isinstance(optimizer, SparseAdam)
                memory.setdefault(int(index), {})[name] = int(value) if is_count else value
        state = optimizer.state_dict()
        optimizer.load_state_dict({"state": memory, "param_groups": state["param_groups"]})
