"""The names that AllenNLP's PyTorch modules give to their parameters; ELMoForManyLangs took them over.

Facts from AllenNLP (https://github.com/allenai/allennlp) and ELMoForManyLangs. The gates stand as ours do. A highway is
one matrix: first the transform, then the gate, which opens the *input* there and the transform here, so it has the
other sign.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from lowtide.model import BiLM, CharCNN
from lowtide.weights.arrays import ForeignArray, Place, whole


def arrays_of_recurrence(bilm: BiLM, prefix: str = "") -> list[ForeignArray]:
    """All LSTM layers: ``forward_layer_0.input_linearity.weight`` and so on."""
    arrays = []
    for number in range(bilm.config.lstm.num_layers):
        for direction in ("forward", "backward"):
            name, ours = (
                f"{prefix}{direction}_layer_{number}",
                parameters_of(bilm, f"{direction}_lstm.layers.{number}."),
            )
            arrays += [
                whole(f"{name}.input_linearity.weight", ours["input_weight"]),
                whole(f"{name}.state_linearity.weight", ours["recurrent_weight"]),
                whole(f"{name}.state_linearity.bias", ours["bias"]),
            ]
            if bilm.config.lstm.is_projected:
                arrays.append(whole(f"{name}.state_projection.weight", ours["projection_weight"]))
    return arrays


def arrays_of_characters(network: CharCNN, prefix: str = "") -> list[ForeignArray]:
    """The character network of AllenNLP: ``_char_embedding_weights``, ``char_conv_0.weight`` and so on."""
    ours = parameters_of(network)
    arrays = [whole(f"{prefix}_char_embedding_weights", ours["char_embedding.weight"])]
    for number in range(len(network.convolutions)):
        for key in ("weight", "bias"):
            arrays.append(whole(f"{prefix}char_conv_{number}.{key}", ours[f"convolutions.{number}.{key}"]))
    for number in range(len(network.highways)):
        highway = parameters_of(network, f"highways.{number}.")
        arrays += arrays_of_highway(f"{prefix}_highways._layers.{number}", highway)
    if network.config.has_projection:
        arrays += [whole(f"{prefix}_projection.{key}", ours[f"projection.{key}"]) for key in ("weight", "bias")]
    return arrays


def arrays_of_highway(name: str, ours: Mapping[str, Tensor]) -> list[ForeignArray]:
    """One highway: ``weight`` (2F, F) and ``bias`` (2F,).

    Args:
        name: of the layer.
        ours: the parameters of our `Highway`.
    """
    arrays = []
    for key in ("weight", "bias"):
        transform, gate = ours[f"transform.{key}"], ours[f"gate.{key}"]
        width = len(transform)
        places = [Place(slice(width), transform), Place(slice(width, None), gate, is_negative=True)]
        arrays.append(ForeignArray(f"{name}.{key}", (2 * width, *transform.shape[1:]), places))
    return arrays


def parameters_of(network: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """The parameters under a prefix, by what follows it."""
    return {
        name.removeprefix(prefix): parameter.detach()
        for name, parameter in network.named_parameters()
        if name.startswith(prefix)
    }
