"""`python -m hasten.cli` is `hasten`."""

from hasten.cli import main

main()
