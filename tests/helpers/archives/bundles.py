"""Other bundles than `small_bundle`, made of it."""

from orthoedge.compression.bundle_writer import write_bundle
from orthoedge.runtime.engine import Outputs


def bundle_like(bundle, folder, *, card="# Other card\n", golden_factor=1.0):
    """The same models under another hash; with `golden_factor`, golden logits that are wrong."""
    models = {"fp32": bundle.model("fp32"), "int8": bundle.model("int8")}
    golden = {}
    for precision in models:
        outputs = bundle.golden_outputs(precision)
        golden[precision] = Outputs(
            outputs.logits * golden_factor, outputs.saliency_map, outputs.feature_vector
        )
    return write_bundle(folder, bundle.manifest, models, bundle.golden_images(), golden, card)
