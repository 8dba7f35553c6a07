"""The signing core: how a certificate is made. It signs only what it has linted and what policy has decided."""
