"""Reading of image files: format checks, decoding, windowing, and the sandbox."""
