"""`python -m gateway.config > conf/certgate.toml` writes the default configuration anew."""

from __future__ import annotations

import sys

from gateway.config import default_toml

if __name__ == "__main__":
    sys.stdout.write(default_toml())
