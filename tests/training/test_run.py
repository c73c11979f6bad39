"""What the trainings share."""

import pytest
import torch

from t2i.training.run import kept


def test_what_is_kept_is_made_once_for_each_source(tmp_path):
    asked, file = [], tmp_path / "kept.pt"

    def made(source):
        return kept(file, source, lambda: asked.append(source) or torch.full((2,), len(asked)))

    assert made("one").tolist() == made("one").tolist() == [1, 1]
    assert made("another").tolist() == [2, 2]
    assert asked == ["one", "another"]


@pytest.mark.parametrize("content", [b"", b"half a"])
def test_what_is_broken_is_made_anew(tmp_path, content):
    file = tmp_path / "kept.pt"
    file.write_bytes(content)
    for _ in range(2):
        assert kept(file, "one", lambda: torch.zeros(2)).tolist() == [0, 0]
