"""What goes to the device together comes out as it went in."""

import torch

from sigmafarm_worker.engine.copying import packed, to_device, unpacked


def test_tensors_of_any_shapes_come_out_of_one_row_as_they_went_in():
    tensors = [torch.randn(4, 8, 8), torch.randn(3, 12), torch.zeros(0, 5), torch.randn(())]

    for found, wanted in zip(unpacked(packed(tensors), tensors), tensors, strict=True):
        assert torch.equal(found, wanted)


def test_all_of_them_are_on_the_device():
    tensors = [torch.tensor([1, 2]), torch.tensor([], dtype=torch.long), torch.tensor([[3], [4]])]

    moved = to_device(tensors, torch.device("meta"))

    assert [each.device.type for each in moved] == ["meta"] * 3
    assert [each.shape for each in moved] == [each.shape for each in tensors]
    assert to_device(tensors, torch.device("cpu"))[2] is tensors[2]
