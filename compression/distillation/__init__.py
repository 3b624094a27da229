"""Distillation of the teacher ensemble into a small student."""
