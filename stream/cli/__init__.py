"""The `alluvium` command. Results go to standard output, progress and logs to standard error."""

from __future__ import annotations

from stream.cli.main import main

__all__ = ["main"]
