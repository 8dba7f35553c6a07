"""Package data: the default configuration, certificate profiles, sample products, deployment files."""
