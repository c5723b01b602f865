import numpy as np
import pytest

from hasten.core.errors import InputError
from hasten.split.metrics import make_metric, metric_name, score


def test_accuracy_is_one_where_the_largest_logit_is_at_the_class():
    right = make_metric("accuracy", np.array([1, 2]))
    assert right({"logits": np.float32([0, 3, 1])}, np.int64(1)) == 1.0
    assert right({"logits": np.float32([0, 3, 1])}, np.int64(2)) == 0.0


def test_mean_iou_by_hand():
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0, 0], maps[1, 1] = 1, 1  # upper row class 0, lower row class 1
    target = np.array([[0, 1], [1, 1]])
    # class 0: 1 of 2; class 1: 2 of 3; class 2 appears nowhere and does not count
    assert make_metric("mean_iou", target[None])({"masks": maps}, target) == pytest.approx((1 / 2 + 2 / 3) / 2)
    with pytest.raises(InputError, match="maps of classes"):
        make_metric("mean_iou", target[None])({"masks": maps}, np.zeros((4, 4), int))


def test_mse_is_the_share_of_variance_explained_and_not_negative():
    targets = np.float32([[0.0], [2.0]])
    explained = make_metric("mse", targets)  # variance 1
    assert explained({"output": np.float32([0.5])}, targets[0]) == pytest.approx(0.75)
    assert explained({"output": np.float32([9.0])}, targets[0]) == 0.0
    with pytest.raises(InputError, match=r"shape of the output, \(2,\)"):
        explained({"output": np.zeros(2)}, targets[0])
    assert make_metric("mse", np.ones((3, 1)))({"output": np.ones(1)}, np.ones(1)) == 1.0


def test_a_function_is_checked_at_each_call():
    assert make_metric(lambda outputs, target: 0.25, np.ones(1))({}, np.ones(1)) == 0.25
    for value in (1.5, float("nan"), "good", None):
        with pytest.raises(InputError, match="a number from 0 to 1"):
            make_metric(lambda outputs, target, value=value: value, np.ones(1))({}, np.ones(1))
    assert metric_name("mse") == "mse" and metric_name(test_mean_iou_by_hand) == "test_mean_iou_by_hand"
    with pytest.raises(InputError, match="one of accuracy, mean_iou, mse"):
        make_metric("map", np.ones(1))


def test_a_function_that_fails_is_named():
    def broken(outputs, target):
        return outputs["boxes"]

    with pytest.raises(InputError, match=r"metric: got 'broken', expected a function of .*KeyError: 'boxes'"):
        make_metric(broken, np.ones(1))({}, np.ones(1))


def test_what_is_not_finite_is_no_answer():
    right = make_metric("accuracy", np.array([1]))
    assert score(right, {"logits": np.float32([np.nan, 1])}, np.int64(1)) == 0.0
    assert score(right, {"logits": np.float32([0, 1]), "count": np.array([3])}, np.int64(1)) == 1.0
