"""Run many images through an engine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.engine import Engine, Outputs, join_outputs
from orthoedge.runtime.errors import EngineError

_BATCH = 16  # the activations of a whole data set would not fit into memory


def run_batched(engine: Engine, images: npt.NDArray[np.uint8]) -> Outputs:
    """Outputs of an engine on uint8 (N, 1, S, S), batch by batch.

    Raises:
        EngineError: wrong dtype or shape, the engine failed, or a logit is not finite.
    """
    # At least one batch, so that the engine itself refuses an empty array.
    starts = range(0, max(1, len(images)), _BATCH)
    batches = [engine.run(images[start : start + _BATCH]) for start in starts]
    outputs = join_outputs(batches)
    if broken := int((~np.isfinite(outputs.logits).all(axis=1)).sum()):
        raise EngineError(
            f"{engine.name}: logits of {broken} of {len(images)} images are not finite, so the "
            f"{engine.precision} network cannot be measured"
        )
    return outputs
