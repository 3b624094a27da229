"""image_io."""
