"""Key stores that come with the product: one module per place where private keys can live."""
