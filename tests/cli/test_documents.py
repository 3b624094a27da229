"""What the documents tell a reader to type is what the command line takes."""

import argparse
import importlib
import itertools
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "docs/README.md",
    "docs/bundles/compression.md",
    "docs/bundles/phantom-bundle.md",
    "docs/embed/embedding.md",
    "docs/embed/jetson.md",
    "docs/how/peers.md",
    "docs/use/archives.md",
    "docs/use/dicom-node.md",
    "docs/use/picture.md",
    "docs/use/report.md",
    "docs/bundles/recipes.md",
)


def commands():
    for name in DOCUMENTS:
        for block in re.findall(r"```\n(.*?)```", (ROOT / name).read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                line = line.removeprefix("$ ")
                if line.startswith("orthoedge "):
                    words = shlex.split(line, comments=True)
                    yield pytest.param(words[1:], id=f"{name}: {' '.join(words[:3])}")


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_of_the_documents_is_understood(words):
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    importlib.import_module(f"orthoedge.cli.commands.{words[0]}").add_arguments(parser)
    parser.parse_args(words[1:])
    settings = [b for a, b in itertools.pairwise(words) if a == "--set"]
    if words[0] == "train":
        from orthoedge.training.recipe_file import load_recipe

        # A finished run stands where a recipe may; it takes settings of its mask alone.
        load_recipe("real-bones" if words[1].startswith("runs/") else words[1], settings)
    if words[0] == "compress" and settings:
        from orthoedge.training.recipe_file import load_recipe, override_recipe

        override_recipe(load_recipe("orthovision"), settings)


def test_every_link_of_the_documents_leads_somewhere():
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path}: {target}"
