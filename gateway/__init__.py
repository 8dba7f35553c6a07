"""The running server: every adapter to the outside, and the one place where parts are put together."""

__version__ = "0.1.0"
