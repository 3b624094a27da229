"""What stays in memory of highdicom's tables."""

from highdicom.base import get_module_attribute_map

from orthoedge.clinic.results import prepare_results


def test_only_the_modules_that_results_need_stay_loaded():
    prepare_results()
    loaded = set(get_module_attribute_map())
    assert {"patient", "general-study", "segmentation-image"} <= loaded
    # Of over 400 modules that the standard has.
    assert len(loaded) < 100
