"""The benchmark of many people, and that two processes of the app need to share nothing."""

from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from t2i import store
from t2i.bench import crowd
from t2i.engine.batching import MAX_BATCH
from t2i.errors import InputError


@pytest.fixture(scope="module")
def apps(tiny_networks, tmp_path_factory):
    """The app in two processes, with and without batching, by the size of a batch."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    store.save(folder, tiny_networks, {})
    (folder / "model.json").write_text('{"title": "Tiny", "examples": ["a red flower", "a blue bird"]}')
    with ExitStack() as stack:
        starting = {size: crowd.App(str(folder), size, threads) for size, threads in ((MAX_BATCH, None), (1, 1))}
        yield {size: stack.enter_context(app) for size, app in starting.items()}


def test_people_type_and_are_measured(apps, monkeypatch):
    monkeypatch.setattr(crowd, "App", lambda model, max_batch, threads=None: nullcontext(apps[max_batch]))
    monkeypatch.setattr(crowd, "TURNS", 1)
    monkeypatch.setattr(crowd, "_visitors", lambda app, seconds: {})
    figures = crowd.run("tiny", crowd_sizes=(1, 3), seconds=0.8)
    assert [row["people"] for row in figures["crowds"]] == [1, 3]
    table = crowd.table(figures)
    for row in figures["crowds"]:
        for name in ("batched", "one at a time", "two processes"):
            summary = row[name]
            assert summary["processor_ms"] > 0 or not Path("/proc").exists()
            assert summary["answers_a_second"] > 0 and 0 < summary["median_ms"] <= summary["p95_ms"]
            assert f"| {row['people']} | {name} | {summary['answers_a_second']} | {summary['median_ms']} ms |" in table


def test_a_visitor_who_draws_on_the_device_asks_the_server_for_no_picture(apps, monkeypatch):
    monkeypatch.setattr(crowd, "VISITORS", {"the device": "device"})
    visitors = crowd._visitors(apps[MAX_BATCH], 0.6)
    if not visitors:
        pytest.skip("no Chromium")
    assert visitors["the device"]["requests"] == 0


def test_processes_need_to_share_nothing(apps):
    """Requests of one person may go to any process: the app keeps nothing between them."""
    lines = [(app, app.connect()) for app in apps.values()]
    captions = ["a", "a red", "a red flower", "a blue flower"]
    answers = [
        [app.draw(line, caption, [7, 8], "one person")["pictures"] for app, line in (lines, lines[::-1])[i % 2]]
        for i, caption in enumerate(captions)
    ]
    assert all(first == second and len(first) == 2 for first, second in answers)
    assert len({tuple(first) for first, _ in answers}) == len(captions)


def test_an_app_that_does_not_start_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(crowd, "APP", "raise SystemExit(1)")
    with pytest.raises(InputError, match="did not start"), crowd.App(str(tmp_path), 1):
        pass


def test_a_refused_person_waits_and_then_asks_for_the_newest_text(monkeypatch):
    monkeypatch.setattr(crowd, "KEY_INTERVAL", 0.02)
    monkeypatch.setattr(crowd, "RETRY_DELAY", 0.1)
    captions = []

    def draw(connection, caption, seeds, session):
        captions.append(caption)
        return None if len(captions) == 1 else {"pictures": [""] * len(seeds)}

    app = SimpleNamespace(connect=lambda: SimpleNamespace(close=lambda: None), draw=draw)
    person = crowd._Person(app, 0)
    person.type(1.0)
    assert person.refused == 1 and len(person.latencies) == len(captions) - 1 > 0
    assert len(captions[1]) - len(captions[0]) >= 4  # what was typed in the meantime is never requested
    assert all(len(a) < len(b) for a, b in zip(captions, captions[1:]))


def test_an_app_that_fails_ends_the_benchmark():
    connection = SimpleNamespace(close=lambda: None)
    app = SimpleNamespace(connect=lambda: connection, draw=lambda *_: {"error": "Something went wrong on the server."})
    app.processor_seconds = lambda: 0.0
    with pytest.raises(InputError, match="Something went wrong"):
        crowd._type_together([app], 2, 0.3)
