"""INT8 and fp16 conversion, rules for model files, and recovery of lost accuracy."""
