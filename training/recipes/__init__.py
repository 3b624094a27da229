"""The recipes that come with the package. Imports nothing heavy: `--help` lists them."""

from importlib import resources


def recipe_names() -> tuple[str, ...]:
    """List the packaged recipes by name."""
    names = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))
