"""Prepare one radiograph with an installed wheel."""

import numpy as np
import orthoedge_native

radiograph = np.arange(300 * 200, dtype=np.uint32).astype(np.uint8).reshape(300, 200)
model_input, statistics = np.zeros((224, 224), np.uint8), np.zeros(22, np.float32)
field, content, measures = orthoedge_native.prepare(
    radiograph, True, "after", 2.0, 8, model_input, statistics
)
pixels = np.zeros((2, 3), np.uint8)
look_up_table = np.arange(2**16, dtype=np.uint32).astype(np.uint8)
orthoedge_native.look_up(np.full((2, 3), 300, np.uint16), look_up_table, pixels)
assert (pixels == 44).all()
assert field == (0, 0, 200, 300)
assert content == (37, 0, 186, 224)
assert model_input.any()
assert np.isfinite(statistics).all()
assert np.isfinite(measures).all()
print(orthoedge_native.__version__, orthoedge_native.instruction_set())
