"""What services that speak, listen and converse have in common: how they fail, and when to ask again."""
