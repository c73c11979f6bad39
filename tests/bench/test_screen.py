"""The benchmark of the page: that it drags and types on both pages, not how fast this machine is."""

import pytest

from t2i.__main__ import main
from t2i.bench import screen


def test_bench_drags_and_types_on_both_pages(capsys, monkeypatch, model):
    quick = {"NUM_ROUNDS": 1, "MAX_LETTERS": 3, "DRAG_SECONDS": 0.3, "PAUSE_MS": 50, "SETTLE_MS": 300}
    for name, value in (quick | {"LATENCIES_MS": [100], "NUM_TAB_CHANGES": 2}).items():
        monkeypatch.setattr(screen, name, value)
    code, (output, error) = main(["bench", "screen", "--model", str(model)]), capsys.readouterr()
    if "needs Chromium" in error:
        pytest.skip(error)
    assert code == 0
    assert "keystroke to sixteen, median ms" in output and "Chromium" in output
    by_server, by_browser = (
        [line.split() for line in output.splitlines() if line.startswith(f"100 ms: drawn by the {who}")]
        for who in ("server", "browser")
    )
    server, device = -4, -1  # columns: where this page draws
    assert float(by_server[0][server]) > 0 == float(by_browser[0][server])
    assert float(by_browser[0][device]) > 0 == float(by_server[0][device])
    times = [float(line.split()[-3]) for line in output.splitlines() if line.startswith("change of tabs")]
    assert len(times) == 2 and all(time > 0 for time in times)
