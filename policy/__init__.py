"""The registration authority: whether a certificate may be issued, who decided it, and the record of it."""
