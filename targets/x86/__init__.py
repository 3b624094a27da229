"""OpenVINO on x86-64 CPUs."""
