"""Compile an ONNX model with OpenVINO, or load the compiled model from the cache."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.settings import EngineOptions
from orthoedge.targets.cpu import instruction_sets
from orthoedge.targets.x86.compile_cache import load, store
from orthoedge.targets.x86.openvino_module import load_openvino
from orthoedge.targets.x86.signal_stack import signal_stack_kept

# Part of every name, so that files of an older layout are never read. Raise it with any change of
# the layout in compile_cache.py.
_LAYOUT = 2


def compile_model(model: bytes, size: int, threads: int | None, cache: Path | None) -> Any:
    """Return `obtain_compiled`'s model alone, which benchmarks run without an engine around it."""
    return obtain_compiled(model, size, EngineOptions(threads, cache))[0]


@signal_stack_kept()
def obtain_compiled(
    model: bytes, size: int, options: EngineOptions, model_sha256: str = ""
) -> tuple[Any, str]:
    """Load a model compiled for one image of a fixed size from the cache, or compile it now.

    Args:
        model: an ONNX file with the interface of a bundle's models, its hash already checked.
        size: side S of its input, in pixels.
        options: threads, cache folder and streams. A cached file of another version, processor or
            setting has another name; a damaged one is rebuilt. Without a folder the models that
            were compiled at installation are read (`installed_cache`), and nothing is written.
        model_sha256: of the model, where it is known; else it is computed for the cache.

    Returns:
        The model, and why a cached file was not used: empty if it was used, or there was none.

    Raises:
        RuntimeError: OpenVINO refused the model.
        OSError: the cache cannot be written.
    """
    # Without the hint OpenVINO runs "fp32" in bf16 on processors that have it.
    config: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": options.streams,
    }
    if options.threads is not None:
        config["INFERENCE_NUM_THREADS"] = options.threads
        # With an explicit thread count OpenVINO pins to the first cores; several processes would
        # then compete for the same cores.
        config["ENABLE_CPU_PINNING"] = False
    core = load_openvino().Core()
    folder = installed_cache() if options.cache is None else options.cache
    if folder is None:
        return _compile(core, model, size, config), ""
    key = _key(model_sha256 or sha256(model), size, config)
    file = folder / f"{key[:32]}.openvino"
    try:
        cached, refused = load(file)
    except OSError as error:
        if options.cache is not None:
            raise
        cached, refused = None, f"{file.name} cannot be read: {error.strerror}"
    else:
        if refused:
            remedy = "; orthoedge doctor --warm makes it anew"
            refused += remedy if options.cache is None else ", and was made anew"
    if cached is not None:
        return core.import_model(cached, "CPU", config), ""
    compiled = _compile(core, model, size, config)
    if options.cache is None:
        return compiled, refused
    exported = compiled.export_model()
    content = exported.getvalue() if isinstance(exported, io.BytesIO) else bytes(exported)
    store(file, content)
    return compiled, refused


def installed_cache(must_exist: bool = True) -> Path | None:
    """Folder of this installation for models that `orthoedge doctor --warm` compiled.

    It lies in the Python environment, which is trusted as the code in it is.

    Args:
        must_exist: return None where there is no such folder.
    """
    folder = Path(sys.prefix) / "share" / "orthoedge" / "compiled"
    return folder if folder.is_dir() or not must_exist else None


def _compile(core: Any, model: bytes, size: int, config: dict[str, Any]) -> Any:
    network = core.read_model(model)
    network.reshape([1, 1, size, size])
    return core.compile_model(network, "CPU", config)


def cache_failed(cache: Path | None, error: OSError) -> EngineError:
    """The error for a cache that cannot be read or written."""
    return EngineError(f"compile cache {cache}: {error.strerror or error}")


def machine_key() -> list[Any]:
    """What a compiled model depends on apart from the model: OpenVINO and the processor."""
    return [
        load_openvino().get_version(),
        sorted(instruction_sets()),
        os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
    ]


def _key(model_sha256: str, size: int, config: dict[str, Any]) -> str:
    return sha256(msgspec.json.encode([_LAYOUT, model_sha256, size, config, machine_key()]))
