"""Training: torch and timm, from an index of radiographs to a run folder."""
