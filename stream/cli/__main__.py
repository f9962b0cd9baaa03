"""`python -m stream.cli` is `alluvium`."""

from __future__ import annotations

from stream.cli.main import main

main()
