"""Model bundles: reading, manifest, signature, and checks of untrusted files."""
