"""The DICOM receiver: stores what it is sent, without decoding it, and answers C-ECHO."""
