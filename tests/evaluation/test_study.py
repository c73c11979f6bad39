"""The four objectives compared over several seeds: means, effects and their standard errors."""

import json
import math
import random

import pytest

from t2i.errors import InputError
from t2i.evaluation import report, study
from t2i.registry import OBJECTIVES


def evaluation(objective: str, kid: float, seed: int, **more: object) -> dict:
    figures = {
        "model": objective,
        "data": "d.zip",
        "objective": objective,
        "width": None,
        "size": 128,
        "steps": 3000,
        "training_seed": seed,
    }
    run = {"pictures": 9, "hardware": "a core", "seconds": 4, "trained": {"hardware": "a core", "seconds": 60}}
    return figures | {"steps_before": {}} | run | {"fidelity": {"pictures": {"kid": kid}}, "left_out": {}} | more


KIDS = {"gan": (0.040, 0.042), "gan-cls": (0.030, 0.032), "gan-int": (0.041, 0.043), "gan-int-cls": (0.031, 0.033)}


def all_evaluations(**more: object) -> list[dict]:
    return [evaluation(name, kid, seed, **more) for name, kids in KIDS.items() for seed, kid in enumerate(kids)]


def test_effects_are_differences_of_means_and_their_error_comes_from_runs_of_one_objective():
    rows = study.table(all_evaluations()).splitlines()
    assert rows == [
        "| 2 trainings each | GAN | GAN-CLS | GAN-INT | GAN-INT-CLS |"
        " wrong captions change | interpolation changes | interaction |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| KID × 1000 (lower is better) | 41.0 | 31.0 | 42.0 | 32.0 | **−10.0 ± 1.0** | +1.0 ± 1.0 | 0.0 ± 1.0 |",
    ]


def test_an_interaction_is_what_interpolation_changes_more_with_wrong_captions_than_without():
    values = {"gan": [1.0], "gan-cls": [2.0], "gan-int": [1.0], "gan-int-cls": [6.0]}
    assert [study.effect(values, signs) for signs in study.EFFECTS.values()] == [3, 2, 2]


def test_the_standard_error_is_the_spread_of_effects_where_there_are_none():
    rng = random.Random(0)
    studies = [{name: [rng.gauss(0, 2) for _ in range(3)] for name in OBJECTIVES} for _ in range(2000)]
    for signs in study.EFFECTS.values():
        spread = math.sqrt(sum(study.effect(values, signs) ** 2 for values in studies) / len(studies))
        assert spread == pytest.approx(2 / math.sqrt(3), rel=0.05)
    errors = [study.standard_error(values) ** 2 for values in studies]
    assert math.sqrt(sum(errors) / len(errors)) == pytest.approx(2 / math.sqrt(3), rel=0.05)


def test_a_metric_that_a_run_lacks_has_no_row():
    evaluations = all_evaluations(scratch={"pictures": {"kid": 0.2}})
    assert "from scratch" in study.table(evaluations)
    del evaluations[3]["scratch"]
    assert "from scratch" not in study.table(evaluations)


def test_only_seeds_that_all_objectives_have_are_compared():
    evaluations = all_evaluations()
    assert study.table([*evaluations, evaluation("gan", 9.0, seed=2)]) == study.table(evaluations)
    assert study.table(evaluations[:-1]).splitlines() == [
        "| 1 training each | GAN | GAN-CLS | GAN-INT | GAN-INT-CLS |",
        "| --- | --- | --- | --- | --- |",
        "| KID × 1000 (lower is better) | 40.0 | 30.0 | 41.0 | 31.0 |",
    ]
    for wrong in (evaluations[:-2], [evaluations[0], *evaluations[3:]]):
        with pytest.raises(InputError, match="a training seed that all objectives have; there are {'gan': .0"):
            study.table(wrong)


def test_a_seed_that_an_objective_has_twice_is_an_error():
    evaluations = all_evaluations()
    with pytest.raises(InputError, match="gan-int has 1 twice"):
        study.table([*evaluations, evaluations[5]])


@pytest.mark.parametrize("key, value", [("data", "birds.zip"), ("steps", 2000), ("size", 64), ("precision", "float32")])
def test_runs_that_differ_in_more_than_objective_and_seed_are_an_error(key, value):
    first, *others = all_evaluations()
    with pytest.raises(InputError, match=f"differ only in objective and seed; {key}: "):
        study.table([first | {key: value}, *others])


def test_the_study_is_written_beside_the_tables(tmp_path):
    for name, (first, second) in KIDS.items():
        for folder, more in ((f"flowers-{name}", {"paper": False}), (f"paper-{name}", {"paper": True})):
            path = tmp_path / "weights" / folder
            path.mkdir(parents=True)
            (path / "model.json").write_text(json.dumps({"objective": name} | more))
            (path / "evaluation.json").write_text(json.dumps(evaluation(name, first, 0)))
        (tmp_path / "weights" / f"flowers-{name}" / study.OTHER_SEEDS.replace("*", "1")).write_text(
            json.dumps(evaluation(name, second, 1))
        )
    alone = tmp_path / "weights" / "alone"
    alone.mkdir()
    (alone / "evaluation.json").write_text(json.dumps(evaluation("gan", 0.5, 0, model="alone")))
    document, page = tmp_path / "evaluation.md", tmp_path / report.STUDY
    for path in (document, page):
        path.write_text(f"before\n{report.START}\n{report.END}\nafter\n")
    assert set(report.write(document, tmp_path / "weights")) == {document, page}
    assert "| 41.0 | 31.0 | 42.0 | 32.0 | **−10.0 ± 1.0** |" in page.read_text()
    assert "| 40.0 | 30.0 | 41.0 | 31.0 |\n" in page.read_text()
    assert page.read_text().startswith("before\n") and document.read_text().count("alone") == 1
    (tmp_path / "weights" / "flowers-gan" / "evaluation.json").unlink()
    (tmp_path / "weights" / "paper-gan" / "model.json").unlink()
    assert report.write(document, tmp_path / "weights") == [document]
