"""Descriptions of privacy units, as results state them."""

from __future__ import annotations

from typing import Final

A_CUSTOMER: Final = "everything that one customer did at one retailer"


A_BUYER: Final = "everything that one customer bought at one retailer"


A_MEMBER: Final = "one retailer's whole update in every round"


A_LINE: Final = "one line of a purchase: one product in one basket"
