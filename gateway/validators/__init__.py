"""Validators that come with the product, and the resolver they share. Each takes plain settings."""
