"""The benchmark of the screen: that it drags and types on both pages, not how fast this machine is."""

import pytest

from t2i.__main__ import main
from t2i.bench import screen


def test_bench_drags_and_types_on_both_pages(capsys, monkeypatch):
    for name, value in {"ROUNDS": 1, "LETTERS": 3, "DRAG": 0.5, "SETTLE": 100}.items():
        monkeypatch.setattr(screen, name, value)
    code, (told, amiss) = main(["bench", "screen"]), capsys.readouterr()
    if "needs Chromium" in amiss:
        pytest.skip(amiss)
    assert code == 0
    assert "keystroke to sixteen, median ms" in told and "Chromium" in told
    switched = [float(line.split()[-3]) for line in told.splitlines() if line.startswith("change of tabs")]
    assert len(switched) == 2 and all(one > 0 for one in switched)
