"""The command line: `orthoedge VERB ...`. A verb's module is imported when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from orthoedge.cli.terminal import printable
from orthoedge.runtime.errors import GateFailed, OrthoEdgeError

VERBS = {
    "phantom": "render a labelled phantom set with lesion masks",
    "data": "import a published data set, clean a set, audit it for shortcuts",
    "train": "train an ensemble by a recipe",
    "evaluate": "measure a trained run on a labelled set, with intervals and pictures",
    "compress": "distil, prune, quantize, calibrate and bundle a trained run",
    "verify": "check a bundle: hashes, golden answers, invariants",
    "predict": "predict radiographs, with a heat map beside every answer",
    "benchmark": "measure latency, accuracy and footprint per target; check the claims",
    "bundle": "sign a bundle, check who signed it, make keys",
    "build": "build an engine plan on the device itself",
    "doctor": "say what this machine has, what will be used and why",
}
_DESCRIPTION = (
    "Bone radiographs on small machines: a label, calibrated probabilities and a heat map. "
    "A research and engineering tool, not a cleared medical device."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0 done; 1 done, but something failed its check; 2 bad input, one line on stderr;
        130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    if "" in arguments:  # an unset shell variable; as a path it would mean the working folder
        return _fail("an argument is empty; give it a value or leave it out", 2)
    # Only the verb that was asked for is imported, so that --help answers at once.
    verb = next((argument for argument in arguments if argument in VERBS), None)
    parser = argparse.ArgumentParser(prog="orthoedge", description=_DESCRIPTION)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(metavar="VERB", dest="verb")
    for name, help_text in VERBS.items():
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
        return int(parsed.handler(parsed))
    except GateFailed as error:
        return _fail(error, 1)
    except OrthoEdgeError as error:
        return _fail(error, 2)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("orthoedge"):
            raise
        extra = {
            "train": "train",
            "benchmark": "train",
            "evaluate": "train",
            "data": "train",
            "phantom": "train",
            "compress": "compress",
            "verify": "train",
        }.get(verb or "")
        if extra is None:
            raise
        return _fail(
            f"{error.name} is not installed and is needed for orthoedge {verb}: "
            f"pip install 'orthoedge[{extra}]'",
            2,
        )
    except BrokenPipeError:  # the reader of stdout went away, such as `| head`
        sys.stdout = None  # type: ignore[assignment]
        return 1
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else error, 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _fail(message: object, code: int) -> int:
    line = printable(" ".join(str(message).split()))
    print(f"orthoedge: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
