import torch
from torch import nn

from attiqa.training.weight_average import WeightAverage


def net_of(value: float) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    for tensor in net.state_dict().values():
        tensor.fill_(value)
    return net


def test_average_by_hand():
    values, decay = [3.0, -1.0, 4.0, 1.0], 0.3
    average = WeightAverage(net_of(2.0), decay)
    expected = 2.0
    for t, value in enumerate(values, start=1):
        average.update(net_of(value))
        share = min(decay, (1 + t) / (10 + t))  # 2/11, 3/12, 0.3, 0.3
        expected = share * expected + (1 - share) * value
    assert torch.allclose(average.tensors["0.weight"], torch.full((1, 2), expected))
    assert torch.allclose(average.tensors["1.running_var"], torch.tensor([expected]))
    assert average.tensors["1.num_batches_tracked"].item() == 1  # copied: the last one


def test_average_is_lent_and_taken_back():
    average, net = WeightAverage(net_of(2.0), 0.9), net_of(5.0)
    with average.applied(net):
        assert net.get_parameter("0.bias").item() == 2
    assert net.get_parameter("0.bias").item() == 5


def test_average_continues_from_its_state():
    whole, first = WeightAverage(net_of(2.0), 0.9), WeightAverage(net_of(2.0), 0.9)
    whole.update(net_of(3.0))
    first.update(net_of(3.0))
    second = WeightAverage(net_of(0.0), 0.9)
    second.load_state_dict(first.state_dict())
    whole.update(net_of(7.0))
    second.update(net_of(7.0))
    assert all(torch.equal(whole.tensors[name], second.tensors[name]) for name in whole.tensors)
