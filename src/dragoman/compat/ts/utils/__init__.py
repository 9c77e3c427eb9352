"""Small helps for handlers."""
