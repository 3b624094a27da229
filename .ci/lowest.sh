#!/usr/bin/env bash
# The lowest versions that pyproject.toml allows, of every runtime extra, in a venv of their own.
# The wheel is installed, not the tree: the demonstration, the offline test and the quick tests of
# the runtime, its engines and the DICOM results must pass, then a part of them again with the
# lowest numpy 2.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$(realpath -m "${1:-.venv-lowest}")
uv=${UV:-uv}
export UV_PYTHON_DOWNLOADS=never PYTHONDONTWRITEBYTECODE=1
unset PYTHONPATH
extras='.[x86,portable,clinic,report,cluster,trust]'
# What the tests need is not held to its lowest version, but may not raise the runtime's; onnx
# follows its own bound.
tests=(pytest hypothesis packaging pydicom-data 'onnx>=1.17' "tomli; python_version < '3.11'")
tests+=(imagecodecs pillow tifffile 'numpy<2')

install() {
    rm -rf build
    "$uv" pip install --quiet --python "$venv/bin/python" --resolution lowest-direct \
        --only-binary :all: --no-binary orthoedge --reinstall-package orthoedge "$extras" "$@"
    rm -rf build
}
demo() {
    "$venv/bin/orthoedge" predict runtime/assets/samples --overlay "$venv/pictures" >/dev/null
    "$venv/bin/orthoedge" predict runtime/assets/samples --target portable --json >/dev/null
}
quick() {
    # Memory, of a process and of each decoder, what numpy imports, and answers that are the same to
    # the bit for every number of threads are those of the versions in requirements/.
    "$venv/bin/python" -m pytest -q -o addopts= -p no:cacheprovider -m 'not slow' \
        --deselect tests/targets/test_surroundings.py::test_the_whole_pipeline_fits_into_256_megabytes \
        --deselect tests/targets/test_start.py::test_a_start_imports_nothing_that_its_first_finding_does_not_need \
        --deselect tests/targets/test_engines.py::test_streams_and_threads_do_not_change_a_bit_of_an_answer \
        --deselect tests/runtime/image_io/test_reading_memory.py::test_the_estimate_is_above_what_is_taken_and_not_far_above \
        "$@"
}

rm -rf "$venv"
"$uv" venv --quiet --python "${PYTHON:-python3}" "$venv"
install
demo # before anything of the tests is there
"$uv" pip install --quiet --python "$venv/bin/python" --only-binary :all: "${tests[@]}"
ORTHOEDGE_LOWEST=1 quick tests/test_supply_chain.py -k lowest
quick tests/runtime/{bundles,dicom,image_io,overlay} tests/runtime/test_{decision,pipeline,pipeline_map,preprocess}.py \
    tests/targets/test_{engines,offline,sources,start,surroundings,verification}.py
quick tests/clinic/{report,results,spool,words}
install 'numpy>=2'
demo
quick tests/runtime/dicom/test_dicom_reader.py tests/targets/test_engines.py
rm -rf "$venv"
