"""The checks of an audit; `registry.py` lists all of them."""
