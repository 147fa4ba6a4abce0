"""Catalogues of several members aligned, without showing what each sells (alignment.md)."""
