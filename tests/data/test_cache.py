import errno

import numpy as np
import pytest
import torch

from t2i.data import cache
from t2i.data.cache import cache_dir, cached, mapped_array
from t2i.errors import InputError


def test_a_result_is_computed_once_for_each_source():
    computed = []

    def result(source):
        return cached("result", source, lambda: computed.append(source) or torch.full((2,), len(computed)))

    assert result("first").tolist() == result("first").tolist() == [1, 1]
    assert result("second").tolist() == [2, 2]
    assert computed == ["first", "second"]


@pytest.mark.parametrize("content", [b"", b"half a"])
def test_a_broken_file_is_replaced(content):
    cached("result", "source", lambda: torch.ones(2))
    [file] = cache_dir().iterdir()
    file.write_bytes(content)
    for _ in range(2):
        assert cached("result", "source", lambda: torch.zeros(2)).tolist() == [0, 0]


@pytest.mark.parametrize("number, reason", [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only file system")])
def test_a_cache_that_cannot_be_written_raises_an_error_with_the_remedy(monkeypatch, number, reason):
    def fail(file, values):
        raise OSError(number, f"{reason} on device")

    monkeypatch.setattr(cache, "write_tensors", fail)
    with pytest.raises(InputError, match=rf"result-source.pt: cannot be written \({reason}.*XDG_CACHE_HOME"):
        cached("result", "source", lambda: torch.ones(2))


def test_an_array_is_written_in_parts_once_and_mapped():
    calls = []

    def parts():
        calls.append(1)
        yield 2, np.array([[5, 6], [7, 8]], np.float16)  # in any order
        yield 0, np.array([[1, 2], [3, 4]], np.float16)

    for _ in range(2):
        array = mapped_array("result", "source", (4, 2), "<f2", parts)
        assert isinstance(array, np.memmap) and array.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert len(calls) == 1
