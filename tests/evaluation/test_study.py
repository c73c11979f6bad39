"""The four objectives compared over several seeds: means, effects and their standard errors."""

import json
import math
import random

import pytest

from t2i.errors import InputError
from t2i.evaluation import report, study
from t2i.registry import OBJECTIVES


def evaluation(objective: str, kid: float, **more: object) -> dict:
    figures = {"model": objective, "data": "d.zip", "objective": objective, "width": None, "size": 128, "steps": 3000}
    run = {"pictures": 9, "hardware": "a core", "seconds": 4, "trained": {"hardware": "a core", "seconds": 60}}
    return figures | {"steps_before": {}} | run | {"fidelity": {"pictures": {"kid": kid}}, "left_out": {}} | more


KIDS = {"gan": (0.040, 0.042), "gan-cls": (0.030, 0.032), "gan-int": (0.041, 0.043), "gan-int-cls": (0.031, 0.033)}


def test_effects_are_differences_of_means_and_their_error_comes_from_runs_of_one_objective():
    rows = study.table([evaluation(name, kid) for name, kids in KIDS.items() for kid in kids]).splitlines()
    assert rows == [
        "|  | GAN | GAN-CLS | GAN-INT | GAN-INT-CLS | wrong captions change | interpolation changes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| KID × 1000 (lower is better) | 41.0 | 31.0 | 42.0 | 32.0 | **−10.0 ± 1.0** | +1.0 ± 1.0 |",
    ]


def test_the_standard_error_is_the_spread_of_effects_where_there_are_none():
    rng = random.Random(0)
    studies = [{name: [rng.gauss(0, 2) for _ in range(3)] for name in OBJECTIVES} for _ in range(2000)]
    for idea in ("mismatching", "interpolated"):
        spread = math.sqrt(sum(study.effect(values, idea) ** 2 for values in studies) / len(studies))
        assert spread == pytest.approx(2 / math.sqrt(3), rel=0.05)
    errors = [study.standard_error(list(values.values())) ** 2 for values in studies]
    assert math.sqrt(sum(errors) / len(errors)) == pytest.approx(2 / math.sqrt(3), rel=0.05)


def test_a_metric_that_a_run_lacks_has_no_row():
    evaluations = [evaluation(name, kid, scratch={"pictures": {"kid": kid}}) for name in KIDS for kid in KIDS[name]]
    assert "from scratch" in study.table(evaluations)
    del evaluations[3]["scratch"]
    assert "from scratch" not in study.table(evaluations)


@pytest.mark.parametrize("missing", [1, 2, 4])
def test_too_few_or_unequally_many_seeds_are_an_error(missing):
    evaluations = [evaluation(name, kid) for kid in (0.04, 0.05) for name in OBJECTIVES]
    with pytest.raises(InputError, match="at least two seeds of each objective, equally many; there are"):
        study.table(evaluations[:-missing])


def test_the_study_is_written_beside_the_tables(tmp_path):
    for name, (first, second) in KIDS.items():
        folder = tmp_path / "weights" / f"flowers-{name}"
        folder.mkdir(parents=True)
        (folder / "evaluation.json").write_text(json.dumps(evaluation(name, first)))
        (folder / "evaluation-seed-1.json").write_text(json.dumps(evaluation(name, second)))
    alone = tmp_path / "weights" / "alone"
    alone.mkdir()
    (alone / "evaluation.json").write_text(json.dumps(evaluation("gan", 0.5, model="alone")))
    document, page = tmp_path / "evaluation.md", tmp_path / report.STUDY
    for path in (document, page):
        path.write_text(f"before\n{report.START}\n{report.END}\nafter\n")
    assert set(report.write(document, tmp_path / "weights")) == {document, page}
    assert "| 41.0 | 31.0 | 42.0 | 32.0 | **−10.0 ± 1.0** |" in page.read_text()
    assert page.read_text().startswith("before\n") and document.read_text().count("alone") == 1
