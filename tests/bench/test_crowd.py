"""The benchmark of a crowd, and two apps that know nothing of each other."""

from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from t2i import store
from t2i.bench import crowd
from t2i.engine.batching import MOST
from t2i.errors import InputError


@pytest.fixture(scope="module")
def apps(tiny_networks, tmp_path_factory):
    """The app, gathering and not, as processes of their own."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    store.save(folder, tiny_networks, {name: asdict(n.config) for name, n in tiny_networks.items()})
    with ExitStack() as stack:
        started = {most: crowd.App(str(folder), most, threads) for most, threads in ((MOST, None), (1, 1))}
        yield {most: stack.enter_context(app) for most, app in started.items()}


def test_a_crowd_types_and_is_measured(apps, monkeypatch):
    monkeypatch.setattr(crowd, "App", lambda model, most, threads=None: nullcontext(apps[most]))
    monkeypatch.setattr(crowd, "TURNS", 1)
    figures = crowd.run("tiny", clients=(1, 3), seconds=0.8)
    assert [row["people"] for row in figures["crowds"]] == [1, 3]
    told = crowd.table(figures)
    for row in figures["crowds"]:
        for name in ("gathered", "alone", "two copies"):
            found = row[name]
            assert found["processor_ms"] > 0 or not Path("/proc").exists()
            assert found["answers_a_second"] > 0 and 0 < found["median_ms"] <= found["p95_ms"]
            assert f"| {row['people']} | {name} | {found['answers_a_second']} | {found['median_ms']} ms |" in told


def test_workers_need_to_know_nothing_of_each_other(apps):
    """Requests of one person may go to any worker: the app keeps nothing between them."""
    lines = [(app, app.connect()) for app in apps.values()]
    captions = ["a", "a red", "a red flower", "a blue flower"]
    answers = [
        [app.draw(line, caption, [7, 8], "one person")["pictures"] for app, line in (lines, lines[::-1])[i % 2]]
        for i, caption in enumerate(captions)
    ]
    assert all(one == other and len(one) == 2 for one, other in answers)
    assert len({tuple(one) for one, _ in answers}) == len(captions)


def test_an_app_that_does_not_start_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(crowd, "APP", "raise SystemExit(1)")
    monkeypatch.setattr(crowd.checkpoint, "resolve", lambda name: tmp_path)
    with pytest.raises(InputError, match="did not start"), crowd.App("tiny", 1):
        pass


def test_a_refused_person_waits_and_asks_again_for_the_newest(monkeypatch):
    monkeypatch.setattr(crowd, "KEY", 0.02)
    monkeypatch.setattr(crowd, "RETRY", 0.1)
    asked = []

    def draw(connection, caption, seeds, session):
        asked.append(caption)
        return None if len(asked) == 1 else {"pictures": [""] * len(seeds)}

    app = SimpleNamespace(connect=lambda: SimpleNamespace(close=lambda: None), draw=draw)
    person = crowd._Person(app, 0)
    person.type(1.0)
    assert person.refused == 1 and len(person.delays) == len(asked) - 1 > 0
    assert len(asked[1]) - len(asked[0]) >= 4  # what was typed in the meantime was never asked for
    assert all(len(a) < len(b) for a, b in zip(asked, asked[1:]))


def test_an_app_that_fails_ends_the_benchmark(monkeypatch):
    connection = SimpleNamespace(close=lambda: None)
    app = SimpleNamespace(connect=lambda: connection, draw=lambda *_: {"error": "Something went wrong on the server."})
    app.processor_seconds = lambda: 0.0
    with pytest.raises(InputError, match="Something went wrong"):
        crowd._crowd([app], 2, 0.3)
