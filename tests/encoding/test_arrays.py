"""Arrays, frames, tensors and images are described by their library, without a copy."""

from __future__ import annotations

import numpy
import pytest

from tests.encoding.values import cpu_ms, event_line, sprung, written


def test_fault_45_an_array_of_ten_million_is_described_without_a_copy() -> None:
    array = numpy.zeros(10_000_000)

    took = cpu_ms(lambda: event_line(input=array))

    assert took < 20  # quiet: 0.05 ms
    assert written(array) == {"type": "numpy.ndarray", "shape": [10_000_000], "dtype": "float64"}


def test_fault_45_numpy_scalars_of_every_kind() -> None:
    scalars = [
        numpy.float64(1.5),
        numpy.float16(0.5),
        numpy.longdouble(0.25),
        numpy.uint64(2**64 - 1),
    ]
    others = [numpy.datetime64("NaT"), numpy.str_("s"), numpy.complex64(1j), numpy.float32("nan")]

    assert written(scalars) == [1.5, 0.5, 0.25, 2**64 - 1]
    assert written(others) == [None, "s", "1j", None]
    assert written(numpy.datetime64(1, "ns")).startswith("1970-01-01T00:00:00")


def test_fault_45_frames_tensors_and_images_by_their_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Tensor:
        shape = property(lambda self: (2, 3))
        dtype = property(lambda self: "torch.float32")

    class Image:
        size = property(lambda self: (640, 480))
        mode = property(lambda self: "RGB")

    Tensor.__module__, Image.__module__ = "torch", "PIL.Image"
    Tensor.__qualname__, Image.__qualname__ = "Tensor", "Image"

    class Parameter(Tensor):
        shape = property(sprung)  # type: ignore[assignment]

    described = {"type": "torch.Tensor", "shape": [2, 3], "dtype": "torch.float32"}
    assert written(Tensor()) == described
    assert written(Parameter())["shape"] == [2, 3]
    assert written(Image()) == {"type": "PIL.Image.Image", "shape": [640, 480], "dtype": "RGB"}


def test_fault_45_pandas_frames_and_missing_times() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})

    assert written(frame)["shape"] == [2, 2]
    assert written(frame)["dtype"] == ["int64", "float64"]
    assert written([pandas.NaT, pandas.Timestamp("2026-11-22")]) == [None, "2026-11-22T00:00:00"]
