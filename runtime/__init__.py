"""The lean runtime: numpy, OpenCV and msgspec only."""
