"""The network: backbones, ensemble, starting weights, batch normalization and FLOPs."""
