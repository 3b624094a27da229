"""Fine-tuning sees the rounding that INT8 will do, and leaves an ordinary network behind."""

import numpy as np
import pytest
import torch

from orthoedge.compression.export import export
from orthoedge.compression.quantization.int8 import quantize
from orthoedge.compression.quantization.qat import fake_quantized
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.model.batch_norm import start_running_statistics
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.pixels import normalise
from tests.helpers.conv_model import constant, conv_model, logits_of, pictures, weight_codes

LABELS = ("a", "b", "c")


@pytest.fixture(autouse=True)
def same_every_time():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def images(count=16):
    return torch.from_numpy(pictures(count).repeat(2, 2).repeat(2, 3))  # 64 × 64


def spoiled():
    """A network with one loud channel, which the next layer's weights take back."""
    network = Ensemble(("plain_cnn_8",), len(LABELS))
    first, second = (network.branches[0].backbone.stages[i] for i in (1, 2))
    with torch.no_grad():
        first[1].weight[0] *= 100
        first[1].bias[0] += 50
        second[0].weight[:, 0] /= 100
    start_running_statistics(network, [images()])
    return network.eval()


def tune(student, teacher, steps):
    """Distillation to the float network's logits under rounding."""
    optimizer = torch.optim.Adam(student.parameters(), 1e-3)
    x = images()
    student.train()
    for _ in range(steps):
        loss = ((student.explain(x).logits - teacher) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return student.eval()


def far(student, teacher):
    with torch.no_grad():
        return far_from(student(images()).numpy(), teacher.numpy())


def far_from(logits, expected):
    """Root mean square of the difference over the standard deviation."""
    return float(np.sqrt(((logits - expected) ** 2).mean()) / expected.std())


def start_ranges(student):
    """One batch in training mode, which leaves batch normalization as it was."""
    before = {k: v.clone() for k, v in student.state_dict().items() if "running" in k}
    student.train()(images())
    student.load_state_dict(before, strict=False)
    student.eval()


def test_training_under_rounding_wins_back_what_rounding_costs():
    student = spoiled()
    with torch.no_grad():
        teacher = student(images())
    with fake_quantized(student):
        start_ranges(student)
        before = far(student, teacher)
        tune(student, teacher, 40)
        after = far(student, teacher)
    assert before > 0.05
    assert after < before / 2


def test_the_student_is_an_ordinary_network_again():
    student = Ensemble(("test_efficientnet",), len(LABELS))
    names, kinds = list(student.state_dict()), [type(m) for m in student.modules()]
    parameters = list(student.parameters())
    before = [value.detach().clone() for value in parameters]
    with torch.no_grad():
        teacher = student.eval()(images())
    with fake_quantized(student):
        tune(student, teacher + 1, 2)
        inside = list(student.parameters())
    assert list(student.state_dict()) == names
    assert [type(m) for m in student.modules()] == kinds
    # The very tensors that an optimizer held, and all of them have learned.
    held = {id(value) for value in inside}
    assert all(id(value) in held for value in parameters)
    assert {id(value) for value in student.parameters()} == held
    moved = [not torch.equal(a, b) for a, b in zip(before, parameters, strict=True)]
    assert sum(moved) >= len(moved) - 1  # one branch: its fusion weight is 1 whatever it learns


def test_an_exception_leaves_an_ordinary_network_too():
    student = Ensemble(("plain_cnn_4",), len(LABELS))
    names = list(student.state_dict())
    with pytest.raises(KeyboardInterrupt), fake_quantized(student):
        raise KeyboardInterrupt
    assert list(student.state_dict()) == names


def test_what_int8_leaves_in_float_is_left():
    """Squeeze-and-excite lies behind a pooling; head and map are no convolutions at all."""
    student = Ensemble(("test_efficientnet",), len(LABELS))
    with fake_quantized(student):
        rounded = {k.split(".parametrizations")[0] for k in student.state_dict() if ".param" in k}
    every = {k for k, m in student.named_modules() if isinstance(m, torch.nn.Conv2d)}
    left = every - rounded
    assert len(left) == 4
    assert all(".se." in name for name in left)


def test_weights_round_to_what_quantize_writes():
    """Code for code: 7 bits, and 8 where a convolution is depthwise."""
    model = conv_model()
    student = Ensemble(("plain_cnn_16",), len(LABELS))
    stages = student.branches[0].backbone.stages
    depthwise = torch.nn.Conv2d(16, 16, 3, padding=1, groups=16)
    layers = {"stem": stages[0][0], "depthwise": depthwise}
    stages[0].append(depthwise)
    for name, layer in layers.items():
        layer.weight.data = torch.from_numpy(constant(model, f"{name}.weight").copy())
    int8 = quantize(model, pictures(2))
    with fake_quantized(student):
        for name, layer in layers.items():
            codes, step = weight_codes(int8, name)
            rounded = layer.weight.detach().numpy() / step
            difference = np.abs(rounded - codes)
            # 7 bits end at 63.5 steps, which either side of the file may round up or down.
            assert (difference[np.abs(codes) < 63] < 1e-3).all()
            assert difference.max() < 1.001
            assert np.abs(rounded).max().round() == np.abs(codes).max()


def test_inputs_are_rounded_to_the_largest_that_training_showed():
    student = Ensemble(("plain_cnn_4",), len(LABELS)).eval()
    x = images(8)
    with torch.no_grad(), fake_quantized(student):
        stem = student.branches[0].backbone.stages[0][0]
        seen = []
        stem.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
        grey = x // 4 + 96
        student(x)
        assert torch.equal(seen[-1], normalise(x))  # no range yet
        student.train()(grey)
        assert stem.input_range == normalise(grey).abs().max()
        student(x)
        largest = stem.input_range.clone()
        assert largest == normalise(x).abs().max()
        student(grey)
        student.eval()(x)
        assert stem.input_range == largest
        codes = seen[-1] / (largest / 127)
        torch.testing.assert_close(codes, codes.round(), atol=1e-3, rtol=0)
        assert codes.abs().max().round() == 127


@pytest.mark.slow
def test_the_tuned_students_int8_file_is_nearer_to_the_teacher():
    student = spoiled()
    with torch.no_grad():
        teacher = student(images())
    before = int8_error(student, teacher)
    with fake_quantized(student):
        start_ranges(student)
        tune(student, teacher, 60)
    assert int8_error(student, teacher) < before / 2


def int8_error(student, teacher):
    preprocess = Preprocess(
        size=64, collimated_field="keep", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
    )
    int8 = quantize(export(student, LABELS, preprocess), images().numpy())
    return far_from(logits_of(int8, images().numpy()), teacher.numpy())
