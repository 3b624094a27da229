"""What tells whoever runs a node how it does: counters, metrics, golden images, systemd."""
