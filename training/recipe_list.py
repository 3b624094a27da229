"""The recipes that come with the package. Imports nothing heavy: `--help` asks for them."""

from __future__ import annotations

from importlib import resources


def recipe_names() -> tuple[str, ...]:
    """Names of the packaged recipes."""
    folder = resources.files("orthoedge.training").joinpath("recipes")
    return tuple(
        sorted(e.name.removesuffix(".toml") for e in folder.iterdir() if e.name.endswith(".toml"))
    )
