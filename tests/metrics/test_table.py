"""The table of metrics, and how values are looked up in evaluation.json."""

import ast
import sys
from pathlib import Path

import pytest

from t2i.metrics import table
from t2i.metrics.table import METRICS, decimals, find_value


def test_the_table_imports_only_the_standard_library():
    nodes = list(ast.walk(ast.parse(Path(table.__file__).read_text("utf-8"))))
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in modules} <= set(sys.stdlib_module_names)
    assert not [node for node in nodes if isinstance(node, ast.Import)]


def test_every_metric_has_its_own_path_and_label():
    assert len({metric.path for metric in METRICS}) == len({metric.label for metric in METRICS}) == len(METRICS)


def test_metrics_in_compare_say_what_they_mean_and_those_of_the_hub_have_a_name():
    assert all(metric.meaning for metric in METRICS if metric.compare_label)
    assert all(metric.hub_name for metric in METRICS if metric.hub_type)


def test_a_number_is_found_and_one_that_was_left_out_is_none():
    evaluation = {"fidelity": {"pictures": {"kid": 0.06, "count": 3}}}
    assert find_value(evaluation, "fidelity.pictures.kid") == 0.06
    assert find_value(evaluation, "fidelity.pictures.count") == 3
    assert find_value(evaluation, "fidelity.pictures.frechet") is None and find_value(evaluation, "style.kid") is None


@pytest.mark.parametrize("evaluation", [[], 3, {"a": [1]}, {"a": {"b": "high"}}, {"a": {"b": True}}, {"a": {"b": {}}}])
def test_anything_but_a_number_is_an_error(evaluation):
    with pytest.raises(TypeError):
        find_value(evaluation, "a.b")


def test_decimals_scales_rounds_and_adds_the_unit():
    assert decimals(0, 1000)(0.0625) == "62" and decimals(1, 100, " %")(0.141) == "14.1 %"
