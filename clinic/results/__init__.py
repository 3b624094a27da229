"""The DICOM objects of an answer: picture, report, contour and segmentation."""

from orthoedge.clinic.results.answer import Answer
from orthoedge.clinic.results.result import encode_result, make_result, prepare_results

__all__ = ["Answer", "encode_result", "make_result", "prepare_results"]
