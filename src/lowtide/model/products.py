"""Matrix products with a weight that stays: packed once in the layout that the processor's best kernel wants.

Which library is asked decides more than anything else: see ``benchmarks/``. Every kernel here is *probed* before it is
used: it multiplies a small matrix, and what comes out is compared with the right answer. The first one of a dtype's
list that passes is taken, so that a machine gives the same numbers each time.

==========  =====================================================================================================
dtype       what is held and computed
==========  =====================================================================================================
float32     as in training
bfloat16    weights of 16 bits, sums in float32. Where the processor multiplies bfloat16: weights and inputs in it.
            Elsewhere the weights are float16, which is nearer to them, and the inputs stay float32
int8        weights in 8 bits, a scale for each output; inputs in 7 or 8 bits, a scale for each row: so what stands
            in the other rows changes nothing
==========  =====================================================================================================
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.nn import functional

from lowtide.errors import InputError, nearest

Dtype = Literal["float32", "bfloat16", "int8"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

_PACKED_FOR_ROWS = 128
"""Of a product: oneDNN lays a matrix out for a number of rows, and takes it for any."""


class Product(Protocol):
    """x W^T + b, of a weight that stays."""

    def __call__(self, inputs: Tensor, plus: Tensor | None = None) -> Tensor:
        """Multiply.

        Args:
            inputs: (rows, input width) float32.
            plus: (rows, output width) float32, which is added; its memory may be used for the answer.

        Returns:
            (rows, output width) float32.
        """


class Kernel(Protocol):
    """A way to multiply: makes a `Product` of a weight, or raises whatever its library raises."""

    name: str
    follows_threads: bool
    """Whether it keeps to the number of threads of the thread that calls it, so that two may run side by side."""
    leaves_single_rows: bool
    """Whether single rows, of which one hangs on the other, are read quicker without it: see
    `lowtide.model.single_row`."""

    def __call__(self, weight: Tensor, bias: Tensor | None) -> Product:
        """Pack a weight.

        Args:
            weight: (output width, input width) float32.
            bias: (output width,)
        """


class _Plain:
    """PyTorch's own product, on any device."""

    name = "PyTorch"
    follows_threads = False
    leaves_single_rows = False

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype

    def __call__(self, weight: Tensor, bias: Tensor | None) -> Product:
        held, added = weight.to(self._dtype), None if bias is None else bias.to(self._dtype)

        def product(inputs: Tensor, plus: Tensor | None = None) -> Tensor:
            answer = functional.linear(inputs.to(self._dtype), held, added).float()
            return answer if plus is None else answer.add_(plus)

        return product


class _OneDnn:
    """oneDNN with a packed weight, the layout that is fastest on most processors from Intel and AMD.

    It makes and keeps machine code for every number of rows, half a megabyte each; so numbers of rows are rounded up.
    """

    name = "oneDNN"
    follows_threads = True

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype
        self.leaves_single_rows = dtype == torch.float32

    def __call__(self, weight: Tensor, bias: Tensor | None) -> Product:
        library, dtype = torch.ops.mkldnn, self._dtype
        packed = library._reorder_linear_weight(weight.to(dtype).contiguous(), _PACKED_FOR_ROWS)
        added = None if bias is None else bias.to(dtype)

        def product(inputs: Tensor, plus: Tensor | None = None) -> Tensor:
            rows = inputs.shape[0]
            missing = _rounded_up(rows) - rows
            filled_up = (functional.pad(inputs, (0, 0, 0, missing)) if missing else inputs).to(dtype)
            answer: Tensor = library._linear_pointwise(filled_up, packed, added, "none", [], "").float()[:rows]
            return answer if plus is None else answer.add_(plus)

        return product


def _rounded_up(rows: int) -> int:
    """To one of few numbers, none of them much larger."""
    unit = 1 if rows <= 4 else 8 if rows <= 128 else 32 if rows <= 512 else 128
    return -(-rows // unit) * unit


class _HalfWeights:
    """FBGEMM with weights in float16: half the memory to be read, and sums in float32."""

    name = "FBGEMM, float16 weights"
    follows_threads = True
    leaves_single_rows = False

    def __call__(self, weight: Tensor, bias: Tensor | None) -> Product:
        library = torch.ops.quantized
        with _engine("fbgemm"):
            packed = library.linear_prepack_fp16(weight.contiguous(), bias)

        def product(inputs: Tensor, plus: Tensor | None = None) -> Tensor:
            answer: Tensor = library.linear_dynamic_fp16(inputs, packed)
            return answer if plus is None else answer.add_(plus)

        return product


class _Int8:
    """8 bits, through one of PyTorch's engines for them.

    These engines find one scale for all rows. Here every row is brought to the same range first, and two inputs
    more, 1 and -1 with weights of 0, show them the whole of it: so the scale is always the same, and a row is
    rounded as it would be alone.
    """

    follows_threads = True
    leaves_single_rows = False

    def __init__(self, engine: str) -> None:
        self.name = f"{engine}, 8 bits"
        self._engine = engine

    def __call__(self, weight: Tensor, bias: Tensor | None) -> Product:
        library = torch.ops.quantized
        # QNNPACK wants some scale even where all weights of an output are 0
        scales = weight.abs().amax(dim=1).clamp_min(1e-30) / 127
        widened = functional.pad(weight, (0, 2))
        with _engine(self._engine):
            held = torch.quantize_per_channel(
                widened, scales.double(), torch.zeros(len(weight), dtype=torch.int64), 0, torch.qint8
            )
            packed = library.linear_prepack(held, None)
        has_8_bits = _keeps_8_bits(self._engine)

        def product(inputs: Tensor, plus: Tensor | None = None) -> Tensor:
            largest = torch.linalg.vector_norm(inputs, ord=torch.inf, dim=1, keepdim=True)  # (rows, 1)
            largest.clamp_min_(torch.finfo(torch.float32).tiny)
            rows = inputs.new_empty(len(inputs), inputs.shape[1] + 2)
            torch.div(inputs, largest, out=rows[:, :-2])
            rows[:, -2], rows[:, -1] = 1, -1
            answer: Tensor = library.linear_dynamic(rows, packed, not has_8_bits)
            if plus is None:
                return answer.mul_(largest) if bias is None else torch.addcmul(bias, answer, largest)
            return plus.addcmul_(answer, largest) if bias is None else plus.addcmul_(answer, largest).add_(bias)

        return product


@contextmanager
def _engine(name: str) -> Iterator[None]:
    """PyTorch packs for the engine that is set, for the whole process."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells of its plans for another release
            yield
    finally:
        torch.backends.quantized.engine = before


@functools.cache
def _keeps_8_bits(engine: str) -> bool:
    """Whether sums of two products of 8 bits fit; where they are held in 16 bits, inputs may have only 7."""
    depth = 64
    ones = torch.ones(1, depth)
    with _engine(engine):
        held = torch.quantize_per_channel(
            torch.ones(8, depth), torch.full((8,), 1 / 127), torch.zeros(8, dtype=torch.int64), 0, torch.qint8
        )
        packed = torch.ops.quantized.linear_prepack(held, None)
        answer = torch.ops.quantized.linear_dynamic(torch.cat([ones, -ones]), packed, False)
    return bool((answer[0] - depth).abs().max() < 0.02 * depth)


_KERNELS: dict[Dtype, list[Kernel]] = {
    "float32": [_OneDnn(), _Plain()],
    "bfloat16": [_OneDnn(torch.bfloat16), _HalfWeights(), _Plain(torch.bfloat16)],
    "int8": [_Int8("x86"), _Int8("fbgemm"), _Int8("onednn"), _Int8("qnnpack")],
}
_ON_OTHER_DEVICES: dict[Dtype, list[Kernel]] = {"float32": [_Plain()], "bfloat16": [_Plain(torch.bfloat16)]}
_TOLERANCE: dict[Dtype, float] = {"float32": 1e-5, "bfloat16": 0.02, "int8": 0.04}
"""How far from the right answer a probe may be, beside the largest number in it."""


def kernel_for(dtype: Dtype, device: torch.device) -> Kernel:
    """The first kernel of a dtype that works here.

    Raises:
        InputError: if there is no such dtype, or none of its kernels works on this device.
    """
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}.{nearest(str(dtype), DTYPES)} Known: {', '.join(DTYPES)}")
    return _probed(dtype, device.type)


@functools.cache
def _probed(dtype: Dtype, device: str) -> Kernel:
    kernels = _KERNELS if device == "cpu" else _ON_OTHER_DEVICES
    reasons = []
    for kernel in kernels.get(dtype, []):
        reason = _probe(kernel, device, _TOLERANCE[dtype])
        if reason is None:
            return kernel
        reasons.append(f"{kernel.name}: {reason}")
    told = "; ".join(reasons) or "there is no kernel for it"
    raise InputError(f"dtype {dtype!r} does not work on this {device} ({told}): use float32")


def _probe(kernel: Kernel, device: str, tolerance: float) -> str | None:
    """Why a kernel cannot be used; None if it can."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    weight, bias, inputs, plus = draw(48, 37) / 6, draw(48), draw(5, 37), draw(5, 48)
    expected = (inputs.double() @ weight.double().t() + bias + plus).float()
    try:
        with torch.inference_mode():
            product = kernel(weight, bias)
            found = [product(inputs, plus.clone()), torch.cat([product(row[None]) for row in inputs]) + plus]
    except Exception as error:  # a private operator that is gone, a processor that lacks something: all mean "not here"
        return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    largest = float(expected.abs().max())
    error_ = max(float((answer - expected).abs().max()) for answer in found)
    return None if error_ <= tolerance * largest else f"wrong by {error_ / largest:.1%}"
