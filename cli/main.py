"""The command line: `orthoedge VERB ...`. Only the module of the given verb is imported."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence
from typing import Any

from orthoedge.cli.terminal import open_closed_streams, printable, write_error
from orthoedge.runtime.errors import GateFailed, OrthoEdgeError

VERBS = {
    "phantom": "render labelled phantom radiographs with lesion masks",
    "data": "import a published data set, clean it, audit it for shortcuts",
    "train": "train an ensemble from a recipe",
    "evaluate": "evaluate a trained run on a labelled set, with intervals and figures",
    "compress": "distil, prune, quantize and calibrate a trained run into a bundle",
    "verify": "check a bundle: hashes, golden outputs, invariants",
    "predict": "predict radiographs, with a heat map for each",
    "report": "write a page for each radiograph, as PDF, in ten languages",
    "benchmark": "measure latency, accuracy and footprint per target; check the claims",
    "bundle": "make keys, sign a bundle, verify a signature",
    "build": "build a TensorRT engine plan on the device itself",
    "node": "receive radiographs by DICOM, answer them, send the results on",
    "watch": "answer the radiographs of a folder as they come, send the results on",
    "clinic": "show findings on a page in the browser, keep and search them",
    "archive": "answer an archive, on one machine or over many, and report on the answers",
    "doctor": "report what this machine has, which targets run, and why",
}
_DESCRIPTION = (
    "Bone radiographs on small machines: a label, calibrated probabilities and a heat map. "
    "A research and engineering tool, not a cleared medical device."
)
# Packages that training and compression import at the top of their modules, by the extra that
# installs them. Optional packages of the runtime raise MissingDependency where they are used.
_EXTRAS = {
    "train": {
        *("PIL", "lightning_fabric", "matplotlib", "openpyxl", "safetensors", "scipy", "sklearn"),
        "segmentation_models_pytorch",
        *("tensorboard", "timm", "tomli", "torch", "torchvision", "tqdm"),
    },
    "bench": {"psutil"},
    "compress": {"nncf", "onnx", "onnxscript", "psutil", "torch_pruning"},
    "clinic": {"argon2", "highdicom", "pynetdicom", "starlette", "uvicorn", "watchdog"},
    "report": {"typst"},
    "cluster": {"distributed", "pyarrow"},
    "dev": {"pytorch_grad_cam"},
}


class _Parser(argparse.ArgumentParser):
    """Accepts options by their full names only; its subparsers are of the same class."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0 done; 1 done, but something failed its check; 2 bad input, one line on stderr;
        130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that the terminal cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    if "" in arguments:  # an unset shell variable; as a path it would mean the working folder
        return _fail("an argument is empty; give it a value or leave it out", 2)
    # Only the given verb is imported, and only it is declared where nothing stands before it,
    # so that --help and a start are quick.
    verb = next((argument for argument in arguments if argument in VERBS), None)
    declared = [verb] if verb is not None and arguments[0] == verb else list(VERBS)
    parser = _Parser(prog="orthoedge", description=_DESCRIPTION)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(metavar="VERB", dest="verb")
    for name in declared:
        help_text = VERBS[name]
        subparser = subparsers.add_parser(name, help=help_text, description=help_text)
        if name == verb:
            module = importlib.import_module(f"orthoedge.cli.commands.{name}")
            module.add_arguments(subparser)
            if name == "benchmark":
                after = arguments.index(name) + 1
                try:
                    arguments[after:] = module.rewrite_arguments(arguments[after:])
                except OrthoEdgeError as error:
                    return _fail(error, 2)
            subparser.set_defaults(handler=module.run)
    parsed = parser.parse_args(arguments)
    if parsed.version:
        from importlib import metadata

        print(metadata.version("orthoedge"))
        return 0
    if parsed.verb is None:
        parser.print_help()
        return 2
    try:
        code = int(parsed.handler(parsed))
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk is an error here, not at the end of the interpreter
        return code
    except OrthoEdgeError as error:
        return _fail(error, 1 if isinstance(error, GateFailed) else 2)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("orthoedge"):
            raise
        return _fail(_missing(error.name or "", verb or ""), 2)
    except BrokenPipeError:  # the reader of stdout has ended, such as `| head`
        sys.stdout = None  # type: ignore[assignment]
        return 1
    except OSError as error:
        return _fail(
            f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error, 2
        )
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _missing(module: str, verb: str) -> str:
    """The line for a module that is not installed, with the extra that brings it."""
    package = module.split(".")[0]
    extra = next((extra for extra, packages in _EXTRAS.items() if package in packages), "")
    if verb == "compress" and extra:  # the extra compress includes train
        extra = "compress"
    line = f"{module} is not installed and is needed for orthoedge {verb}"
    return f"{line}: pip install 'orthoedge[{extra}]'" if extra else line


def _fail(message: object, code: int) -> int:
    line = printable(" ".join(str(message).split()))
    write_error(f"orthoedge: {line}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
