import logging
import warnings

from orthoedge.runtime.dicom.silence import quiet_pydicom


def test_two_readers_that_end_in_any_order_leave_all_as_it_was(caplog):
    logger = logging.getLogger("pydicom")
    before = list(warnings.filters), list(logger.filters)
    first, second = quiet_pydicom(), quiet_pydicom()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)  # as a thread that began first and is done first
        logger.error("a value")
        warnings.warn("a value", stacklevel=1)
        second.__exit__(None, None, None)
        assert warned == []
        assert caplog.records == []
        logger.error("no reader is left")
        warnings.warn("no reader is left", stacklevel=1)
        assert len(warned) == len(caplog.records) == 1
    assert (list(warnings.filters), list(logger.filters)) == before
