"""What connects a finding to people: the DICOM node and the result objects it sends."""
