from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from lowtide.errors import InputError
from lowtide.model import products
from lowtide.model.products import Dtype, Kernel, Product, kernel_for

CPU = torch.device("cpu")
WORKING: list[tuple[Dtype, Kernel]] = [
    (dtype, kernel)
    for dtype, kernels in products._KERNELS.items()
    for kernel in kernels
    if products._probe(kernel, "cpu", products._TOLERANCE[dtype]) is None
]
"""Which these are depends on the processor."""
INT8 = [kernel for dtype, kernel in WORKING if dtype == "int8"]
BIT_FOR_BIT = [kernel for _, kernel in WORKING if "8 bits" in kernel.name or kernel.name == "oneDNN"]
ROWS = (1, 2, 7, 64, 130)
WIDTHS = [(1, 1), (3, 5), (7, 33), (48, 37), (129, 64)]
claim = settings(derandomize=True, deadline=None)


def name_of(value: object) -> str | None:
    return value.name.replace(" ", "-") if isinstance(value, (products._Plain, *_KINDS)) else None


_KINDS = (products._OneDnn, products._HalfWeights, products._Int8)


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing is remembered of what was probed, before or after."""
    products._probed.cache_clear()
    yield
    products._probed.cache_clear()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def exact(weight: Tensor, bias: Tensor | None, inputs: Tensor, plus: Tensor | None) -> NDArray[np.float64]:
    """The same product by NumPy, in float64."""
    w, x = (tensor.numpy().astype(np.float64) for tensor in (weight, inputs))
    answer: NDArray[np.float64] = x @ w.T
    for added in (bias, plus):
        answer = answer if added is None else answer + added.numpy().astype(np.float64)
    return answer


# -- the numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("has_plus", [False, True], ids=["", "plus"])
@pytest.mark.parametrize("has_bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize(("dtype", "kernel"), WORKING, ids=name_of)
def test_every_kernel_that_works_here_multiplies_as_numpy_does(
    dtype: Dtype, kernel: Kernel, has_bias: bool, has_plus: bool
) -> None:
    for outputs, width in WIDTHS:
        weight = draw(outputs, width) / width**0.5
        bias = draw(outputs, seed=1) if has_bias else None
        product = kernel(weight, bias)
        for rows in ROWS:
            inputs = draw(rows, width, seed=2)
            plus = draw(rows, outputs, seed=3) if has_plus else None
            expected = exact(weight, bias, inputs, plus)
            found = product(inputs, plus)
            assert found.dtype == torch.float32
            tolerance = products._TOLERANCE[dtype] * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=tolerance)


def test_every_dtype_has_a_kernel_on_a_processor_of_today() -> None:
    assert {dtype for dtype, _ in WORKING} == set(products.DTYPES)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize(("dtype", "kernel"), WORKING, ids=name_of)
def test_a_product_changes_neither_its_inputs_nor_its_weight(dtype: Dtype, kernel: Kernel, rows: int) -> None:
    weight, bias, inputs = draw(16, 24), draw(16, seed=1), draw(rows, 24, seed=2)
    before = [tensor.clone() for tensor in (weight, bias, inputs)]
    kernel(weight, bias)(inputs, draw(rows, 16))
    kernel(weight, None)(inputs, draw(rows, 16))
    assert all(torch.equal(*pair) for pair in zip((weight, bias, inputs), before, strict=True))


@pytest.mark.skipif("x86" not in torch.backends.quantized.supported_engines, reason="another kind of processor")
@pytest.mark.parametrize(("dtype", "name"), [("float32", "oneDNN"), ("int8", "x86, 8 bits")])
def test_the_quickest_kernel_is_the_one_that_is_taken(dtype: Dtype, name: str, fresh: None) -> None:
    """A kernel that is broken is passed over, and the others would pass all these tests."""
    assert kernel_for(dtype, CPU).name == name


@pytest.mark.parametrize(("dtype", "kernel"), WORKING, ids=name_of)
def test_no_rows_give_no_rows(dtype: Dtype, kernel: Kernel) -> None:
    product = kernel(draw(6, 5), draw(6))
    assert product(torch.empty(0, 5)).shape == product(torch.empty(0, 5), torch.empty(0, 6)).shape == (0, 6)


@pytest.mark.parametrize(("dtype", "kernel"), WORKING, ids=name_of)
def test_a_row_of_zeros_gives_the_bias(dtype: Dtype, kernel: Kernel) -> None:
    bias, inputs = draw(8), draw(3, 16)
    inputs[1] = 0
    torch.testing.assert_close(kernel(draw(8, 16), bias)(inputs)[1], bias, rtol=0.01, atol=1e-7)


# -- a row is what it is alone ---------------------------------------------------------------------


@pytest.mark.parametrize("kernel", BIT_FOR_BIT, ids=name_of)
@claim
@given(rows=st.integers(1, 140), chosen=st.integers(0, 139), scale=st.sampled_from([1e-3, 1.0, 1e3]), odd=st.booleans())
def test_a_row_has_the_same_bits_whatever_rows_stand_beside_it(
    kernel: Kernel, rows: int, chosen: int, scale: float, odd: bool
) -> None:
    product = _product(kernel, 33 if odd else 40)
    inputs = draw(rows, 33 if odd else 40, seed=rows)
    chosen %= rows
    alone = inputs[chosen : chosen + 1].clone()
    inputs *= scale  # whoever finds one scale for all rows finds another one now
    inputs[chosen] = alone
    plus = draw(rows, 48, seed=1)
    for added, added_alone in ((None, None), (plus, plus[chosen : chosen + 1].clone())):
        assert torch.equal(product(inputs, added)[chosen], product(alone, added_alone)[0])


@pytest.mark.parametrize(("dtype", "kernel"), WORKING, ids=name_of)
@claim
@given(rows=st.integers(1, 140), chosen=st.integers(0, 139))
def test_a_row_of_a_product_is_nearly_what_it_is_alone(dtype: Dtype, kernel: Kernel, rows: int, chosen: int) -> None:
    product = _product(kernel, 40)
    inputs, chosen = draw(rows, 40, seed=rows), chosen % rows
    alone = product(inputs[chosen : chosen + 1])[0]
    torch.testing.assert_close(product(inputs)[chosen], alone, rtol=0, atol=1e-6 * max(1, float(alone.abs().max())))


_PRODUCTS: dict[tuple[int, int], Product] = {}


def _product(kernel: Kernel, width: int) -> Product:
    key = id(kernel), width
    if key not in _PRODUCTS:
        _PRODUCTS[key] = kernel(draw(48, width) / width**0.5, draw(48, seed=1))
    return _PRODUCTS[key]


@pytest.mark.parametrize("kernel", INT8, ids=name_of)
def test_rows_of_any_size_keep_their_8_bits(kernel: Kernel) -> None:
    weight, inputs = draw(16, 32) / 6, draw(7, 32)
    sizes = torch.tensor([1e-45, 1e-38, 1e-12, 1.0, 1e12, 1e30, 1e-3])[:, None]
    found = kernel(weight, None)(inputs * sizes)
    assert bool(found.isfinite().all())
    expected = exact(weight, None, inputs * sizes, None)
    for row, right in zip(found.numpy()[1:], expected[1:], strict=True):
        assert np.abs(row - right).max() <= 0.04 * np.abs(right).max()
    assert np.abs(found[0].numpy()).max() < 1e-37  # what is hardly a number is nearly nothing


@pytest.mark.parametrize("kernel", INT8, ids=name_of)
def test_an_output_of_small_or_no_weights_is_not_drowned_by_the_others(kernel: Kernel) -> None:
    weight, inputs = draw(16, 32), draw(7, 32, seed=1)
    weight[3], weight[4], weight[5] = 0, weight[4] * 1e-6, weight[5] * 1e6
    found, expected = kernel(weight, None)(inputs).numpy(), exact(weight, None, inputs, None)
    assert not found[:, 3].any()
    for output in (4, 5, 6):
        assert np.abs(found - expected)[:, output].max() <= 0.04 * np.abs(expected)[:, output].max()


@pytest.mark.parametrize("kernel", INT8, ids=name_of)
def test_sums_of_the_largest_weights_and_inputs_do_not_overflow(kernel: Kernel) -> None:
    ones = torch.ones(1, 512)
    found = kernel(torch.ones(8, 512), None)(torch.cat([ones, -ones]))
    torch.testing.assert_close(found, torch.tensor([[512.0], [-512.0]]).expand(2, 8), rtol=0.02, atol=0)


# -- which kernel is taken -------------------------------------------------------------------------


class Broken:
    """A kernel of a library that has gone, or gives wrong numbers."""

    follows_threads = True
    leaves_single_rows = False

    def __init__(self, name: str, what: str) -> None:
        self.name, self._what = name, what

    def __call__(self, weight: Tensor, bias: Tensor | None) -> Product:
        right = products._Plain()(weight, bias)
        if self._what == "raises":
            raise NotImplementedError("no such operator: gone\nwith a long list of others")
        if self._what == "raises nothing":
            raise AssertionError

        def product(inputs: Tensor, plus: Tensor | None = None) -> Tensor:
            if self._what == "raises late":
                raise RuntimeError("illegal instruction")
            if self._what == "wrong beside others" and len(inputs) > 1:
                return right(inputs, plus) + 1
            if self._what == "wrong alone" and len(inputs) == 1:
                return right(inputs, plus) + 1
            if self._what == "forgets what is added":
                return right(inputs)
            return right(inputs, plus) * (float("nan") if self._what == "nan" else 1)

        return product


BROKEN = {
    "raises": "no such operator: gone",
    "raises nothing": "AssertionError",
    "raises late": "illegal instruction",
    "wrong beside others": "wrong by",
    "wrong alone": "wrong by",
    "forgets what is added": "wrong by",
    "nan": "wrong by nan",
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("dtype", products.DTYPES)
def test_a_kernel_that_does_not_work_is_passed_over(
    dtype: Dtype, what: str, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = kernel_for(dtype, CPU)
    products._probed.cache_clear()
    monkeypatch.setitem(products._KERNELS, dtype, [Broken("broken", what), *products._KERNELS[dtype]])
    assert kernel_for(dtype, CPU) is expected


@pytest.mark.parametrize("what", BROKEN)
def test_where_no_kernel_works_the_reasons_are_told(what: str, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(products._KERNELS, "int8", [Broken("first", what), Broken("second", "raises")])
    with pytest.raises(InputError) as error:
        kernel_for("int8", CPU)
    assert f"first: {BROKEN[what]}" in str(error.value) and "second: no such operator: gone" in str(error.value)
    assert "long list" not in str(error.value) and str(error.value).endswith("use float32")


def test_a_device_without_a_kernel_says_so(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(products._KERNELS, "int8", [])
    with pytest.raises(
        InputError, match=r"'int8' does not work on this cpu \(there is no kernel for it\): use float32"
    ):
        kernel_for("int8", CPU)


def test_a_kernel_is_probed_once(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[str] = []
    monkeypatch.setattr(products, "_probe", lambda kernel, device, tolerance: probed.append(kernel.name))
    assert kernel_for("float32", CPU) is kernel_for("float32", CPU)
    assert len(probed) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("bfloat", r"unknown dtype 'bfloat'\. Did you mean 'bfloat16'\? Known: float32, bfloat16, int8"),
        ("int4", r"unknown dtype 'int4'\. Did you mean 'int8'\?"),
        ("zzz", r"unknown dtype 'zzz'\. Known: float32, bfloat16, int8"),
        (None, r"unknown dtype None\."),
        (["int8"], r"unknown dtype \['int8'\]\."),
    ],
)
def test_an_unknown_dtype_is_refused_with_the_nearest_name(wrong: Dtype, says: str) -> None:
    with pytest.raises(InputError, match=says):
        kernel_for(wrong, CPU)


@pytest.mark.parametrize("before", ["fbgemm", "qnnpack", "onednn"])
def test_the_engine_that_was_set_for_8_bits_is_set_again(before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if before not in torch.backends.quantized.supported_engines:
        pytest.skip("not in this build of PyTorch")
    original = torch.backends.quantized.engine
    try:
        torch.backends.quantized.engine = before
        for kernel in INT8:
            kernel(draw(8, 8), None)
            assert torch.backends.quantized.engine == before
        with pytest.raises(KeyError), products._engine("qnnpack"):
            raise KeyError
        assert torch.backends.quantized.engine == before
    finally:
        torch.backends.quantized.engine = original


def test_whichever_engine_is_set_weights_are_packed_by_the_one_that_can() -> None:
    before = torch.backends.quantized.engine
    try:
        for engine in torch.backends.quantized.supported_engines:
            torch.backends.quantized.engine = engine
            for dtype, kernel in WORKING:
                assert kernel(draw(6, 5), draw(6))(draw(2, 5)).shape == (2, 6), dtype
                assert torch.backends.quantized.engine == engine
    finally:
        torch.backends.quantized.engine = before
