"""Let ``python -m training`` run the command line."""

from training.cli import main

main()
