"""python -m nearbit: the command `nearbit`."""

from nearbit.cli import main

if __name__ == "__main__":
    main()
