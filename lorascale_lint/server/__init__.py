"""The language server: findings while somebody types, with their traces and repairs."""
