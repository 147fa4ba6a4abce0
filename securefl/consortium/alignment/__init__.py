"""Catalogues of several members aligned, without showing what each sells (docs/alignment.md)."""
