"""A node under load and in trouble: its processes, units that send, and an archive that counts."""
