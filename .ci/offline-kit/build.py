"""Write the offline kit: a folder that installs orthoedge on a machine without a network.

For every combination of machine and Python: the packages of the runtime, pinned and hashed. Then
the wheel of orthoedge, the documentation as HTML, the systemd units, install.sh, and the SHA-256 of
every file. The folder is written under a temporary name and renamed when it is complete.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import markdown

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
MACHINES = {"x86_64": "x86,portable", "aarch64": "portable"}
"""Engines of each machine: OpenVINO is measured on x86-64 alone."""
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = "clinic,report,trust"
_GLIBC = 36  # Debian 12; wheels for an older one are taken too
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f3f3f3;padding:.7rem;overflow:auto}code{background:#f3f3f3}"
    "table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.2rem .5rem}"
    "img{max-width:100%}"
)


def main() -> None:
    """Build the kit that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "offline-kit", help="must not exist")
    parser.add_argument("--machines", nargs="+", default=list(MACHINES), choices=list(MACHINES))
    parser.add_argument("--pythons", nargs="+", default=list(PYTHONS), choices=list(PYTHONS))
    arguments = parser.parse_args()
    out: Path = arguments.out.resolve()
    if out.exists():
        parser.error(f"{out} exists; remove it or name another folder with --out")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    wheels = part / "wheels"
    wheels.mkdir(parents=True)
    build_wheel(wheels)
    for machine in arguments.machines:
        for python in arguments.pythons:
            print(f"packages for {machine}, Python {python}", file=sys.stderr)
            download(part, machine, python)
    run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, "pip")
    write_docs(part / "docs")
    shutil.copy(HERE / "install.sh", part)
    units = part / "systemd"
    units.mkdir()
    for unit in sorted((ROOT / "docs/use").glob("*.service")):
        shutil.copy(unit, units)
    write_sums(part)
    part.rename(out)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {size / 1e6:.0f} MB; install it by {out / 'install.sh'}")


def run(*command: str | Path) -> None:
    """Run a program from the root of the project; end with its status where it fails."""
    done = subprocess.run(list(map(str, command)), cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(
            f"{Path(command[0]).name} ended with status {done.returncode}; the kit is not made"
        )


def build_wheel(folder: Path) -> None:
    """Build the wheel of orthoedge from the tree, without what an older build left there."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ".")
    shutil.rmtree(ROOT / "build", ignore_errors=True)


def download(kit: Path, machine: str, python: str) -> None:
    """Pin, hash and fetch the packages of one machine and Python."""
    pins = kit / f"packages-{machine}-cp{python.replace('.', '')}.txt"
    platform = f"{machine}-manylinux_2_{_GLIBC}"
    extras = [part for extra in (MACHINES[machine], EXTRAS) for part in extra.split(",")]
    run(
        *(Path(sys.executable).with_name("uv"), "pip", "compile", "pyproject.toml"),
        *(argument for extra in extras for argument in ("--extra", extra)),
        *("--python-platform", platform, "--python-version", python, "--generate-hashes"),
        *("--no-header", "--no-annotate", "--no-config", "--quiet", "--only-binary", ":all:"),
        *("--output-file", pins),
    )
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(5, _GLIBC + 1)]
    tags += [f"manylinux2014_{machine}", f"manylinux1_{machine}", "any"]
    run(
        *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--python-version", python, "--implementation", "cp"),
        *(argument for tag in tags for argument in ("--platform", tag)),
        *("-d", kit / "wheels", "-r", pins),
    )


def write_docs(folder: Path) -> None:
    """Render README.md and docs/ as HTML, with the pictures and the links between the pages."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        name = page.relative_to(ROOT)
        text = page.read_text(encoding="utf-8")
        body = markdown.markdown(text, extensions=["tables", "fenced_code", "toc", "sane_lists"])
        body = re.sub(r'(href="(?![a-z]+:)[^"#]*)\.md(["#])', r"\1.html\2", body)
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        file = folder / name.with_suffix(".html")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{html.escape(title[1] if title else name.stem)}</title>"
            f"<style>{_STYLE}</style></head><body>{body}</body></html>\n",
            encoding="utf-8",
        )
    for picture in sorted((ROOT / "docs").rglob("*")):
        if picture.suffix in {".png", ".jpg", ".svg", ".webp"}:
            target = folder / picture.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, target)


def write_sums(kit: Path) -> None:
    """Write SHA256SUMS, which install.sh checks before it does anything."""
    files = sorted(file for file in kit.rglob("*") if file.is_file())
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(kit)}\n"
        for file in files
    ]
    sums = kit / "SHA256SUMS"
    sums.write_text("".join(lines), encoding="utf-8")
    with sums.open("rb") as stream:
        os.fsync(stream.fileno())


if __name__ == "__main__":
    main()
