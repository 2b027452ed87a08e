"""Kernel and initrd of the tiny guest, as firmware-config/guest/build.sh makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.errors import MissingError
from edge.lab.recipe import Host

FOLDERS = {"q35": "amd64", "microvm": "amd64", "virt": "arm64"}
"""Below the folder of images, by machine."""


@dataclass(frozen=True)
class Image:
    """What a guest boots."""

    kernel: Path
    initrd: Path


def image_of(host: Host, images: Path) -> Image:
    """Raises `MissingError`."""
    folder = images / FOLDERS[host.machine]
    image = Image(folder / "kernel", folder / "initrd")
    for path in (image.kernel, image.initrd):
        if not path.is_file():
            raise MissingError(
                path, "no such file", expected=f"the tiny guest for {FOLDERS[host.machine]}",
                remedy=f"make lab-guests (or firmware-config/guest/build.sh {folder} {FOLDERS[host.machine]})",
            )  # fmt: skip
    return image
