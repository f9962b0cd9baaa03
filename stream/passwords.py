"""Settings that are secrets: which they are, and how files bring them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SECRETS = frozenset({"sasl_password", "ssl_key_password"})  # of section kafka


def read_passwords(kafka: dict[str, Any]) -> None:
    """Fills in passwords from the files that `…_file` names; a line's end belongs to the file. Raises ValueError."""
    for key in sorted(SECRETS):
        file = kafka.get(f"{key}_file")
        if not file:
            continue
        if kafka.get(key):
            raise ValueError(f"kafka.{key} and kafka.{key}_file are both set: one is enough")
        try:
            kafka[key] = Path(str(file)).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"kafka.{key}_file {file} cannot be read: {error}") from None
