"""The exported graph gives the network's own outputs and explains itself."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from orthoedge.compression.export import export
from orthoedge.compression.quantization.onnx_rules import OUTPUTS, explain_nodes
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.model.ensemble import Ensemble

LABELS = ("a", "b", "c")
SMALL = Preprocess(
    size=64, collimated_field="crop", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("test_efficientnet",), marks=pytest.mark.slow),
        ("test_efficientnet", "test_resnet"),
    ],
)
def exported(request):
    torch.manual_seed(0)
    model = Ensemble(request.param, len(LABELS)).eval()
    return model, export(model, LABELS, SMALL)


def test_onnx_runtime_gives_the_networks_answers(exported):
    model, data = exported
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 64, 64), dtype=np.uint8)
    with torch.no_grad():
        expected = model.explain(torch.from_numpy(images))
    got = onnxruntime.InferenceSession(data).run(list(OUTPUTS), {"image": images})
    for want, have in zip(expected.tensors(), got, strict=True):
        # float32 sums in another order: relative to the tensor's own scale.
        np.testing.assert_allclose(have, want.numpy(), atol=1e-4 * float(want.abs().max()))


def test_the_map_means_what_the_logit_sums(exported):
    """CAM of the exported head: W·F averaged over the map, plus the bias, is the logit."""
    model, data = exported
    images = np.random.default_rng(1).integers(0, 256, (2, 1, 64, 64), dtype=np.uint8)
    logits, _, features = onnxruntime.InferenceSession(data).run(list(OUTPUTS), {"image": images})
    weight, bias = (part.detach().numpy() for part in model.head())
    np.testing.assert_allclose(features @ weight.T + bias, logits, atol=1e-5)


def test_the_face_is_the_contract(exported):
    graph = onnx.load_from_string(exported[1]).graph
    (image,) = graph.input
    assert image.name == "image"
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    sizes = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert sizes[1:] == [1, 64, 64]
    assert isinstance(sizes[0], str)  # a free batch size
    assert [out.name for out in graph.output] == list(OUTPUTS)


def test_labels_and_preprocessing_travel_in_the_file(exported):
    notes = {p.key: p.value for p in onnx.load_from_string(exported[1]).metadata_props}
    assert json.loads(notes["orthoedge.labels"]) == list(LABELS)
    assert json.loads(notes["orthoedge.preprocess"])["size"] == 64


def test_nothing_of_the_machine_is_in_the_file(exported):
    assert b"site-packages" not in exported[1]
    assert b".py" not in exported[1]


def test_head_and_map_are_marked_and_nothing_else_is(exported):
    graph = onnx.load_from_string(exported[1])
    names = explain_nodes(graph)
    kinds = {node.op_type for node in graph.graph.node if node.name in names}
    assert "MatMul" in kinds
    assert "Conv" not in kinds
