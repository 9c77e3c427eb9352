"""Bigger helps for handlers."""
