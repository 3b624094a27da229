"""DICOM radiographs: reading, decoding, and conversion to 8-bit grey levels."""
