"""TensorRT on Jetson."""
