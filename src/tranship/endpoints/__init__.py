"""The kinds of ends, one module or package each, and how a user writes them."""
