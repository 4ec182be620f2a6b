"""Legs: one call each, held together by one nursery."""
