"""The command `nearbit`. Its commands need typer and rich, the extra [cli]."""

import sys


def main() -> None:
    """Run the command line; exits 0, 1 at run time, 2 on bad usage, 130 on Ctrl-C."""
    try:
        from nearbit._commands import app
    except ModuleNotFoundError as e:
        package = (e.name or "").partition(".")[0]
        if package not in ("typer", "rich"):
            raise
        sys.exit(f'nearbit: the command line needs {package}: pip install "nearbit[cli]"')
    app()
