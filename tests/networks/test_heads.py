import pytest
import torch

from hasten.networks.heads import MAX_WEIGHTS, AttachedHead


def weights(head):
    return sum(weight.numel() for weight in head.parameters())


@pytest.mark.parametrize("shape", [(512, 14, 14), (2048, 7, 7), (197, 768), (64, 56, 56), (1280,), (16, 9, 9)])
@pytest.mark.parametrize("classes", [2, 10, 1000, 20_000])
def test_heads_stay_small(shape, classes):
    head = AttachedHead(classes)
    assert head(torch.randn(3, *shape)).shape == (3, classes)
    assert weights(head) <= max(MAX_WEIGHTS + 2 * classes, 32 * (sum(shape) + classes) + classes)


def test_few_classes_see_the_whole_grid_and_many_a_coarser_one():
    few, many = AttachedHead(10), AttachedHead(1000)
    features = torch.randn(2, 64, 16, 16)
    few(features), many(features)
    assert few.classify.in_features == 64 * 16 and many.classify.in_features == 64 * 4
    torch.testing.assert_close(many(features), many.classify(torch.nn.functional.avg_pool2d(features, 8).flatten(1)))


def test_the_narrow_middle_is_chosen_once():
    head = AttachedHead(1000)
    head(torch.randn(2, 512, 8, 8))
    narrow, wide = head.classify
    assert narrow.out_features == MAX_WEIGHTS // 1512 and wide.in_features == narrow.out_features
    head(torch.randn(2, 512, 8, 8))
    assert head.classify[0] is narrow
