"""ONNX Runtime: the reference engine, and the fallback for any other CPU."""
